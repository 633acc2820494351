"""Commands for gdb in a run of heapstorm replay --gdb: heap, block, ops. Loaded by it; HEAPSTORM_PROGRAM names the program as text."""
import bisect
import os
import re
import struct

import gdb

ROWS = 64
AROUND = 12
NO_OP = 2**64 - 1
NO_LABEL = 2**32 - 1
STEP, BIRTH, DEATH, WALK, REGION = 1, 2, 3, 4, 5
REGIONS = {0: "live for the allocator, but of no live block", 1: "cached", 2: "free", 3: "bookkeeping"}
SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}


def read_program(path):
    """The operations of each thread, as text."""
    threads, current = {}, None
    for line in open(path, encoding="utf-8"):
        word = re.match(r"thread (main|t(\d+))", line)
        if word:
            current = threads.setdefault(int(word.group(2) or 0), [])
        elif not line.startswith((" ", "\t")):
            current = None
        elif current is not None:
            current.append(line.strip())
    return threads


PROGRAM = read_program(os.environ["HEAPSTORM_PROGRAM"])


def thread_name(thread):
    return "t%d" % thread if thread else "main"


def place(thread, operation):
    if operation == NO_OP:
        return "end of the program"
    lines = PROGRAM.get(thread, [])
    text = lines[operation] if operation < len(lines) else "?"
    return "%s, operation %d: %s" % (thread_name(thread), operation + 1, text)


def label_name(label):
    name = ""
    label += 1
    while label:
        name = chr(ord("a") + (label - 1) % 26) + name
        label = (label - 1) // 26
    return name


def read_array(pointer, count, type_name, names):
    """The fields `names` (numbers) of `count` structs in memory, as tuples."""
    kind = gdb.lookup_type(type_name)
    fields = {field.name: field for field in kind.fields()}
    if count == 0:
        return []
    memory = bytes(gdb.selected_inferior().read_memory(int(pointer), count * kind.sizeof))
    readers = []
    for name in names:
        field = fields[name]
        readers.append((struct.Struct("<" + SIGNED[field.type.sizeof].upper()), field.bitpos // 8))
    return [tuple(reader.unpack_from(memory, i * kind.sizeof + offset)[0] for reader, offset in readers) for i in range(count)]


def call():
    executor = gdb.parse_and_eval("'executor.c'::watched")
    if int(executor) == 0:
        raise gdb.GdbError("The program has not begun.")
    return executor["call"]


def parse_address(text):
    try:
        return int(gdb.parse_and_eval(text)) & NO_OP
    except gdb.error as error:
        raise gdb.GdbError(str(error))


class Event:
    __slots__ = ("kind", "region", "thread", "op", "id", "address", "size")

    def __init__(self, values):
        self.kind, self.region, self.thread, self.op, self.id, self.address, self.size = values


def history():
    log = call()["log"]
    if int(log) == 0:
        raise gdb.GdbError("The program runs again, to be checked more closely: its history is not kept.")
    return [Event(values) for values in read_array(log["events"], int(log["count"]), "struct event", Event.__slots__)]


class Row:
    """A live block, or a region of the last walk."""

    def __init__(self, start, size, text, label=None, requested=0):
        self.start, self.size, self.text, self.label, self.requested = start, size, text, label, requested

    def __str__(self):
        return "  0x%012x %12d  %s" % (self.start, self.size, self.text)


def live_blocks():
    blocks = call()["blocks"]
    rows = []
    for address, requested, size, thread, operation, label in read_array(
            blocks["records"], int(blocks["limit"]), "struct block", ("address", "requested", "size", "thread", "op", "label")):
        if address:
            name = label_name(label) if label != NO_LABEL else "-"
            rows.append(Row(address, requested, "%-6s %s" % (name, place(thread, operation)), name, max(size, requested)))
    return rows


def regions(events):
    """Those of the last walk that are not live, and how many operations ago it was."""
    rows, steps = [], 0
    for event in reversed(events):
        if event.kind == WALK:
            return rows, steps
        if event.kind == STEP:
            steps += 1
        if event.kind == REGION:
            rows.append(Row(event.address, event.size, REGIONS.get(event.region, "?")))
    return [], 0


def unowned(rows, blocks):
    """Without the live regions in which a live block lies."""
    starts = sorted(block.start for block in blocks)
    return [row for row in rows if row.text != REGIONS[0] or
            bisect.bisect_left(starts, row.start) == bisect.bisect_left(starts, row.start + row.size)]


class Heap(gdb.Command):
    """heap [ADDRESS]: the live blocks and the free memory of the heap by address; with ADDRESS those around it."""

    def __init__(self):
        super().__init__("heap", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        others, ago = regions(history())
        blocks = live_blocks()
        rows = sorted(blocks + unowned(others, blocks), key=lambda row: (row.start, row.size))
        first, last = 0, ROWS
        if argument:
            address = parse_address(argument)
            middle = sum(row.start <= address for row in rows)
            first, last = max(0, middle - AROUND), middle + AROUND
        if ago > 0:
            print("Free memory as it was %d operation%s ago." % (ago, "" if ago == 1 else "s"))
        for row in rows[first:last]:
            print(row)
        if len(rows) > last - first:
            print("  %d of %d; heap ADDRESS: those around it" % (min(last, len(rows)) - first, len(rows)))


class Block(gdb.Command):
    """block ADDRESS|NAME: what lies there now, its first bytes, and which blocks lay there before."""

    def __init__(self):
        super().__init__("block", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("block takes an address, or the name of a live block.")
        events, live = history(), live_blocks()
        named = [row for row in live if row.label == argument]
        if not named and re.fullmatch("[a-z]{1,5}", argument):
            raise gdb.GdbError("No live block is called %s; an address in a variable: block (%s)" % (argument, argument))
        address = named[0].start if named else parse_address(argument)
        found = False
        for row in live:
            if row.start <= address < row.start + max(row.requested, 1):
                found = True
                print("live, byte %d of:" % (address - row.start))
                print(row)
                self.dump(row.start, row.requested)
        for row in unowned(regions(events)[0], live):
            if row.start <= address < row.start + row.size and not found:
                found = True
                print("%s, byte %d of:" % (row.text, address - row.start))
                print(row)
                self.dump(address, 32)
        if not found:
            print("0x%x is in no live block and in no known region." % address)
        self.before(events, address)

    def dump(self, address, size):
        try:
            data = bytes(gdb.selected_inferior().read_memory(address, min(size, 32)))
        except gdb.MemoryError:
            print("    not mapped")
            return
        for at in range(0, len(data), 16):
            print("    0x%012x  %s" % (address + at, data[at:at + 16].hex(" ")))

    def before(self, events, address):
        """Births and deaths of the blocks that had the address."""
        there, lines, step = {}, [], None
        for event in events:
            if event.kind == STEP:
                step = event
            elif event.kind == BIRTH and event.address <= address < event.address + max(event.size, 1):
                there[event.id] = event.size
                lines.append("    %d bytes from %s" % (event.size, place(event.thread, event.op)))
            elif event.kind == DEATH and event.id in there and step is not None:
                lines.append("    %d bytes until %s" % (there[event.id], place(step.thread, step.op)))
        if lines:
            print("  blocks that had this address:")
        for line in lines[-10:]:
            print(line)


class Operations(gdb.Command):
    """ops [N]: the last N operations (10), an arrow at the one at work, and the next ones of its thread."""

    def __init__(self):
        super().__init__("ops", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        most = int(argument) if argument else 10
        steps = [event for event in history() if event.kind == STEP]
        for number, event in list(enumerate(steps, 1))[-most:]:
            arrow = "->" if number == len(steps) else "  "
            print("%s %6d  %-5s %s" % (arrow, number, thread_name(event.thread), PROGRAM[event.thread][event.op]))
        if steps:
            last = steps[-1]
            for text in PROGRAM[last.thread][last.op + 1:last.op + 4]:
                print("           %-5s %s" % (thread_name(last.thread), text))


class Seen(gdb.Breakpoint):
    """Where a verdict is about to be recorded."""

    def stop(self):
        print("\nheapstorm: here the failure is seen. `up' leads to the allocator where it is the allocator's own doing; else the damage was "
              "done before.")
        return True


class Before(gdb.Breakpoint):
    """Before the failing operation."""

    def stop(self):
        print("\nheapstorm: next is %s" % os.environ["HEAPSTORM_STOP_PLACE"])
        print("heap, block ADDRESS|NAME, ops [N]: what heapstorm knows. continue: to where the failure is seen.")
        return True


Heap()
Block()
Operations()
gdb.execute("set breakpoint pending on")
Before("event_log_stop", internal=True)
Seen("caller_report", internal=True)
if gdb.lookup_global_symbol("schedule_fail") is not None:
    Seen("schedule_fail", internal=True)
