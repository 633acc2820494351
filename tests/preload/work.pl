# Strings, hashes, sorting, closures and a fork.
use strict;
use warnings;

my %count;
$count{ $_ * 7919 % 1000 }++ for 1 .. 5000;
print join(",", map { "$_=$count{$_}" } (sort { $a <=> $b } keys %count)[0 .. 9]), "\n";

my @lines = map { join " ", map { "w" . ($_ * 31 % 97) } 1 .. ($_ % 40) } 1 .. 1000;
my @sorted = sort { length $a <=> length $b or $a cmp $b } @lines;
print scalar(@sorted), " ", length join("", @sorted), "\n";

my $text = "";
$text .= "line $_\n" x ($_ % 5) for 1 .. 3000;
(my $changed = $text) =~ s/(\d+)/<$1>/g;
print length($text), " ", length($changed), " ", scalar(() = $changed =~ /<\d+7>/g), "\n";

my @tree;
for my $i (1 .. 2000) {
	push @{ $tree[ $i % 50 ]{children} }, { id => $i, name => "n" x ($i % 100) };
	shift @{ $tree[ $i % 50 ]{children} } if $i % 3 == 0;
}
my $sum = 0;
$sum += length $_->{name} for map { @{ $_->{children} } } @tree;
print "$sum\n";

$| = 1;
my $child = fork;
if ($child == 0) {
	my @held = map { "x" x $_ } 1 .. 500;
	exit(scalar(@held) % 256);
}
waitpid $child, 0;
print $? >> 8, "\n";
