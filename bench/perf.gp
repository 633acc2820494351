# Draws what perf measured: gnuplot -e "csv='perf.csv'; base='perf'; subject='mem_alloc'" perf.gp makes perf.png and perf.svg.
set datafile separator comma
set datafile missing NaN
set encoding utf8
set logscale x 2
set logscale y 10
set xrange [12:6e6]
set xtics ("16 B" 16, "64 B" 64, "256 B" 256, "1 KiB" 1024, "4 KiB" 4096, "16 KiB" 16384, "64 KiB" 65536, \
	"256 KiB" 262144, "1 MiB" 1048576, "4 MiB" 4194304) rotate by -35
set xlabel "block size"
set ylabel "ns per malloc and free (median of 15 rounds, bars: lowest and highest)"
set grid xtics ytics lc rgb "#cccccc" lw 1
set border 3 lc rgb "#666666"
set tics nomirror
set key top left Left reverse
set bars small

allocators = "mem_alloc mem_alloc_2.0 malloc/free"
colours = "#c0504d #1f77b4 #555555"
marks = "5 7 9"
pick(workload, name, column) = \
	(strcol(1) eq workload && strcol(2) eq name) ? column : NaN

do for [kind in "png svg"] {
	if (kind eq "png") {
		set terminal pngcairo size 1500,720 font "DejaVu Sans,11" background rgb "white"
	} else {
		set terminal svg size 1500,720 font "DejaVu Sans,13" background rgb "white"
	}
	set output base.".".kind
	set multiplot layout 1,2 title subject." beside malloc/free, one thread" font ",14" noenhanced
	do for [workload in '"single" "live set"'] {
		set title workload eq "single" ? "single: a block is made and freed at once" \
			: "live set: a random one of many live blocks is replaced"
		plot for [i=1:3] csv using (pick(workload, word(allocators, i), $3)):4:5:6 with yerrorlines \
			lc rgb word(colours, i) lw (word(allocators, i) eq subject ? 3 : 1.5) pt int(word(marks, i)) ps 0.8 \
			title word(allocators, i) noenhanced
	}
	unset multiplot
	unset output
}
