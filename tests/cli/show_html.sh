# The page of show --html: one file without a network, for a failure and for a long program; drawn by a real browser where there is one.
. "$(dirname "$0")/common.sh"
build=$(dirname "$(dirname "$heapstorm")")

expect 2 "$heapstorm" show --html "$source_folder/corpus/sequence/malloc-free.heap"
one_line
expect 2 "$heapstorm" show --html -o page.html nowhere.heap
one_line

python3 -c '
import random
random.seed(1)
print("heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  spawn t1")
live, made = [], 0
def name(n):
	text = ""
	n += 1
	while n:
		text, n = chr(97 + (n - 1) % 26) + text, (n - 1) // 26
	return text
for i in range(100000):
	if live and random.random() < .48:
		print("  free", live.pop(random.randrange(len(live))))
	else:
		live.append(name(made))
		made += 1
		print("  %s = malloc %d" % (live[-1], random.choice([16, 40, 500, 3000, 20000])))
print("thread t1\n  zzzz = malloc 5")
' >long.heap
expect 0 "$heapstorm" show --html -o long.html long.heap
cat >'two <threads>.heap' <<END
heapstorm 1
thread main
  a = malloc 24
  spawn t1
  b = malloc 100
  join t1
thread t1
  free a
  c = calloc 3 50
END
expect 0 "$heapstorm" show --html --allocator mem_alloc_2.0 -o two.html 'two <threads>.heap'
if [ -f "$build/tests/planted/environment" ]; then
	HEAPSTORM_RUNNER=$(sh "$source_folder/tests/planted/build.sh" --build "$build" --runner "$source_folder/tests/planted/calloc-tail-dirty.patch") || exit 1
	export HEAPSTORM_RUNNER
	printf 'heapstorm 1\nallocator mem_alloc_2.0\nthread main\n  a = malloc 24\n  b = calloc 1 1\n' >bad.heap
	expect 0 "$heapstorm" show --html -o bad.html bad.heap
	unset HEAPSTORM_RUNNER
else
	cp two.html bad.html
fi
# Nothing is fetched from anywhere.
if grep -Eq '(src|href)=|https?://|@import|fetch\(' long.html two.html bad.html; then
	echo "a page refers to something outside"
	failures=$((failures + 1))
fi

browser=
for name in chromium chromium-browser google-chrome; do
	command -v $name >/dev/null && browser=$name && break
done
if [ -z "$browser" ]; then
	echo "skipped: drawing the page needs chromium, which is not installed"
	finish
	exit 77
fi
size=1280,800
drawn() { # PAGE PATTERN: the document that the browser makes of it
	timeout 100 $browser --headless --no-sandbox --disable-gpu --user-data-dir="$work/browser" --virtual-time-budget=5000 \
		--window-size=$size --dump-dom "file://$PWD/$1" >"$work/out" 2>/dev/null </dev/null
	says out "$2"
}
drawn two.html 'data-drawn="3 blocks, 6 steps"'
says out '<h1 id="title"><span>Nothing was found in mem_alloc_2.0\.'
says out '>  c = calloc 3 50<'
drawn long.html 'data-drawn="[0-9]+ blocks, 100002 steps"'
milliseconds=$(sed -n 's/.*data-milliseconds="\([0-9]*\)".*/\1/p' "$work/out")
[ "${milliseconds:-9999}" -lt 2000 ] || { echo "one picture of 100,000 operations took $milliseconds ms"; failures=$((failures + 1)); }
# Not a line of text more in the document than can be seen.
[ "$(grep -o '<div class="[^"]*" style="position' "$work/out" | wc -l)" -lt 200 ] || { echo "all of the text is in the document"; failures=$((failures + 1)); }
if [ -f "$build/tests/planted/environment" ]; then
	drawn bad.html '<b>not-zeroed</b><span> in mem_alloc_2.0: '
	says out 'class="op bad on"[^>]*>  b = calloc 1 1   &lt;-- not-zeroed<'
fi
# On a phone nothing is wider than the screen.
size=500,850
drawn long.html 'data-overflows="false"'
drawn bad.html 'data-overflows="false"'
# Something was painted: more than one colour in the middle of the picture.
timeout 100 $browser --headless --no-sandbox --disable-gpu --user-data-dir="$work/browser" --virtual-time-budget=5000 \
	--window-size=1280,800 --screenshot="$work/shot.png" "file://$PWD/bad.html" >/dev/null 2>&1 </dev/null
[ "$(wc -c <"$work/shot.png")" -gt 10000 ] || { echo "the picture is empty"; failures=$((failures + 1)); }
finish
