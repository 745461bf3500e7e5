"""Where everything stands: the words of the compiled plan and of the window memory.

Both are one int64 array. The plan ``p`` is written once by ``plan.py`` and only read by the kernels, so
that declarations are data and nothing is compiled for them. The memory ``m`` holds all keys of all kinds.

Memory
------
``m[0:CONTROL]``        counters (``C_*``), then ``KIND_STATE`` words for each kind: live keys, free
                        segments by size class
scratch                 the current event's words, window borders, values seen
headers                 ``HEADER`` words (64 bytes, one cache line) a key: ``H_*``
index                   two areas used in turn (``kernel_table``): a slot is ``hash bits << 32 | key + 1``
segments                bump allocation and free lists; capacities are powers of two from ``CAPACITY_MIN``

A segment holds the kept events of one key, sorted by (time, log order), columns side by side::

    frozen words | word 0 of every event | flag words | value columns | summary (from CAPACITY_LARGE)

Word 0 is ``time_ms << TIME_SHIFT | flags``; flag i says that the event enters the i-th *need* of the kind
(its ``where`` is true and its ``of`` fields are present). Flags beyond ``TIME_SHIFT`` stand in flag words.

The summary of a large segment is redundant: prefix sums at every ``BLOCK`` events, minima and maxima of
blocks in levels of ``FAN``, and for each distinct column the most recently seen values, now and at marks.

A pane segment holds what was folded of a key, in time order, with the same rows as a summary has for blocks::

    head | (end << 20 | seconds) of every pane | prefix rows, one more | levels | records | value lists

so that a window is the difference of two rows there too. A pane ``(end - length, end]`` is seen whole.
"""

from __future__ import annotations

# --- limits ------------------------------------------------------------------------------------------
TIME_SHIFT = 20
"""Flags in word 0; 43 bits of milliseconds are left for the time (until 2248)."""
FLAGS_PER_WORD = 62
VALUE_MAX = (1 << 40) - 1
"""Bound of summed values: squares stay below 2^80, 2^22 of them below 2^102, n times that below 2^124."""
EVENTS_MAX = 1 << 22
"""Largest ``max_events_per_key``: the bound that keeps every sum exact."""
CAPACITY_MIN = 4
CAPACITY_LARGE = 64
"""Segments from here on carry a summary."""
BLOCK_SHIFT = 4
BLOCK = 1 << BLOCK_SHIFT
FAN_SHIFT = 4
FAN = 1 << FAN_SHIFT
SCAN_MAX = 3 * BLOCK
"""Ranges up to this many events are read one by one, longer ones by blocks."""
CLASSES = 24
"""Size classes: 4 to 2^25 events."""
MARK_EVENTS = 1 << 8
"""Large segments keep what a value list was at about every so many events, for those that come late."""
HOLLOW_MIN = 1 << 21
"""An arena of fewer words, 16 MiB, is not evacuated."""
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
PANE_GAIN = 2
"""Old events are folded where their panes take less than one part in so many of their memory."""
DAY_MS = 86_400_000
KEY_BYTES, EVENT_BYTES, PANE_BYTES = 100, 64, 32
"""What counts towards ``max_state_bytes``, whatever is allocated."""
BOUND_SHIFT = 10
"""``max_state_bytes`` is enforced where the offset divided by 2^this changes: a place in the log."""
BOUND_SPARE = 16
"""One part in so many of ``max_state_bytes`` is free after keys had to go."""
FOLD_MIN = 64
"""A key with at least this many events may fold its old ones into panes."""
KEY_LIFE_MS = 400 * DAY_MS
"""How long a key without windows is remembered after its last event."""
NEVER = -(1 << 62)
"""A time before every other."""
FOREVER = 1 << 61
"""The window of a feature without one."""

# --- memory: control ---------------------------------------------------------------------------------
C_HEADERS = 0  # where headers begin
C_HEADERS_END = 1
C_ARENA = 4  # next free word of segments
C_ARENA_END = 5  # where words that were never used end
C_USED = 6  # header slots ever used
C_FREE = 7  # first free header slot + 1
C_KEYS = 8  # live keys
C_SWEEP = 9  # next header to look at for eviction
C_SCRATCH = 10  # where scratch begins
C_EVENTS = 11  # kept events of all keys
C_ARENA_BEGIN = 12  # first word in use
C_PANES = 13  # panes of all keys
# of the snapshot under way, see ``kernel_snapshot.py``
C_COPY = 16  # first header whose key is still to be copied
C_COPY_END = 17  # end of the headers there were at the beginning; 0: no snapshot is under way
C_COPY_WATERMARK = 18  # at the beginning
C_COPY_NEXT = 19  # next word of the buffer in use
C_COPY_LIMIT = 20  # its end
C_COPY_KEYS = 21  # keys copied
C_COPY_FAILED = 22  # 1: the buffer was too small
C_COPY_AREA = 23  # lent segments, then a bit for each header: copied, or came later; then the buffers
C_LENT = 24  # lent segments
C_INDEX = 25  # words of the index, a table of ``kernel_table``
C_TIDY = 31  # 1: the store has something to tidy between slices
# of the arena, see ``kernel_arena.py``
C_FREE_WORDS = 32  # words of its segments that are on free lists
C_ARENA_LAST = 33  # where it ends
C_OLD = 34  # words that an evacuation leaves
C_OLD_END = 35  # 0: none is under way
C_MOVED = 36  # next header to look at; FOREVER: nothing in use is old any more
C_HOLLOW_MIN = 37  # words of the arena below which it stays as it is
CONTROL = 48
KIND_STATE = 64  # live keys, free segments by class, free pane segments by class, EVICTED
FREE_EVENTS = 1
FREE_PANES = 32
EVICTED = 63  # newest event of the keys that went because of max_state_bytes; NEVER: none

# --- memory: header of a key -------------------------------------------------------------------------
H_LOW = 0
H_HIGH = 1
H_BASE = 2  # segment
H_META = 3  # kind << 8 | size class; -1: free
H_SPAN = 4  # first kept event << 32 | end of the kept events
H_VALID = 5  # blocks of the summary that are up to date; the next free slot in a free header
H_PANES = 6  # pane segment, 0: none
H_LAST = 7  # time of the last event
HEADER = 8

# --- memory: a segment whose events are still to be copied, while its key may change -------------------
LENT_MIN = 1 << 15
"""Words of events from which on they are copied piece by piece: 256 KiB take some 50 us."""
LENT_MAX = 256
L_BASE = 0  # segment
L_KIND = 1
L_CLASS = 2  # size class
L_LOW = 3
L_HIGH = 4
L_FIRST = 5  # first kept event at the beginning
L_NEXT = 6  # first event that is still to be copied
L_END = 7  # end of those
LENT = 8

# --- memory: head of a pane segment ------------------------------------------------------------------
B_CLASS = 0  # size class
B_SPAN = 1  # first pane << 32 | end of the panes
B_FOLDED = 2  # end of the newest minute that holds an event beyond max_events_per_key; NEVER: none
B_SETTLE = 3  # watermark from which something is to be joined or forgotten
PANE_HEAD = 4
PANE_CLASS_MIN = 2

# --- memory: record of the first and the last event ---------------------------------------------------
R_COUNT = 0
R_FIRST = 1  # time
R_LAST = 2
R_PAYLOAD = 3  # payload of the first, then of the last
# of a moving average
R_TIME = 1  # of the last event in it
R_WEIGHT = 2  # binary64 bits, sum of weights
R_TOTAL = 3  # binary64 bits, weighted sum
R_AVERAGE = 4  # words of the record

# --- plan: head --------------------------------------------------------------------------------------
P_KINDS = 0
P_EVENTS_MAX = 2
P_SCRATCH_BORDERS = 3  # offsets inside scratch
P_SCRATCH_SEEN = 4
P_SCRATCH_WORDS = 5
P_LARGE = 6  # CAPACITY_LARGE
P_SCAN = 7  # SCAN_MAX
P_FOLD = 8  # FOLD_MIN
P_GAIN = 9  # PANE_GAIN
P_SCRATCH_BANK = 10
P_LENT = 11  # LENT_MIN
P_RECORDS = 16  # kind records begin here

# --- plan: kind --------------------------------------------------------------------------------------
K_KEY = 0  # list of batch rows, one for each word of the key
K_KEY_WORDS = 1
K_NEEDS = 2  # list of need records
K_NEED_COUNT = 3
K_COLUMNS = 4  # list of column records
K_COLUMN_COUNT = 5
K_WORDS = 6  # words of an event
K_FLAG_WORDS = 7  # flag words beside word 0
K_WINDOWS = 8  # list of (window, pane) in rising order of their sum, FOREVER last
K_WINDOW_COUNT = 9
K_ACCS = 10  # list of accumulator records
K_ACC_COUNT = 11
K_RETAIN = 12  # events at or before watermark - this are invisible
K_LIFE = 13  # a key is forgotten when watermark - last event > this
K_REACH = 14  # number of the longest window, -1: none
K_WINDOWLESS = 15  # 1: some feature has no window
K_FROZEN_WORDS = 16
K_FROZENS = 17  # list of accumulators with a record of frozen events
K_FROZEN_COUNT = 18
K_PREFIX_WORDS = 19  # words of one prefix row
K_LEVEL_WORDS = 20  # words of one row of minima and maxima
K_LISTS = 21  # distinct accumulators
K_LIST_MAX = 22  # longest list of values
K_AGE = 23  # events of this age (behind the watermark) are in no exact window any more
K_STEPS = 24  # list of (age, pane): from which age on panes have which length
K_STEP_COUNT = 25
K_PANED = 26  # first step that holds for events not beyond max_events_per_key; K_STEP_COUNT: none does
K_POSITIONS = 27  # list of accumulators with a record in each pane
K_POSITION_COUNT = 28
K_POSITION_WORDS = 29
K_MARK = 30  # events between two marks of a value list
KIND = 32
WINDOW = 2
STEP = 2

# --- plan: need: where and presence ------------------------------------------------------------------
N_FILTER = 0  # -1: none
N_PRESENT = 1  # list of batch rows
N_PRESENT_COUNT = 2
NEED = 3

# --- plan: value column ------------------------------------------------------------------------------
V_ROW = 0  # batch row
V_MODE = 1
V_SCALE = 2  # binary64 bits of 10 ** decimals
COLUMN = 3
MODE_WORD = 0  # the word as it is
MODE_INTEGER = 1  # int64, clamped
MODE_FIXED = 2  # binary64 to fixed point, clamped
MODE_PAIR = 3  # two words hashed into one
MODE_TIME = 4  # the event's time

# --- plan: accumulator: one pass over events for all windows and aggregates that share it -------------
A_CLASS = 0
A_FLAG = 1  # column of the flag word (0: word 0)
A_SHIFT = 2  # bit in it, -1: every event (bank: see A_LANES)
A_COLUMN = 3  # value column
A_SPANS = 4  # list of (window number, first feature, end of features)
A_SPAN_COUNT = 5
A_PREFIX = 6  # offset in a prefix row
A_LEVEL = 7  # offset in a row of minima and maxima
A_MODE = 8  # bank: what it keeps of the values; distinct: COUNTED if the number of events matters
A_POSITION = 9  # offset of its record in a pane's, -1: no feature needs the first or last event
A_LIST = 10  # distinct: number of the value list
A_FROZEN = 11  # offset of its record of frozen events, -1: none
A_PAYLOADS = 12  # list of columns
A_PAYLOAD_COUNT = 13
A_HALF_LIFE = 14
A_LANES = 15  # bank: list of LANES bits in the flag word and LANES words, 1: every event
A_WIDTH = 16  # bank: lanes of its vectors
A_VECTORS = 17  # bank: vectors of its prefix row
A_SCALE = 18  # bank: binary64 bits of 10 ** decimals for fixed point, 0: integers stay integers
ACC = 19
SPAN = 3
CLASS_EVENTS = 0  # first, last, since_*
CLASS_BANK = 1  # count, sum, mean, std, min, max
CLASS_VALUES = 2  # distinct
CLASS_AVERAGE = 3  # ewma
CLASS_SEQUENCE = 4  # sequence: reads the flags and prefix sums of accumulators of events
LANES = 8
LANES_FEW = 4
BANK_WORDS = 6 * LANES  # count, sum, squares high and low, minimum, maximum
COUNTED = 1
BANK_COUNTS = 0
BANK_SUMS = 1
BANK_SQUARES = 2
BANK_EXTREMES = 3
BANK_VECTORS = (1, 2, 4, 4)  # of a prefix row, by mode

# --- plan: feature -----------------------------------------------------------------------------------
F_AGG = 0
F_OUT = 1  # column of the feature matrix
F_MIN = 2  # min_count
F_INCLUDE = 3  # 1: the current event counts
F_SCALE = 4  # binary64 bits of 10 ** decimals for fixed point, 0: integers stay integers
F_MAX = 5  # distinct: cap
F_PAYLOAD = 6  # list of (column or -1 for the time, output column, number among the accumulator's payloads)
F_PAYLOAD_COUNT = 7
# of a sequence: payloads are its steps, FLAG_PLACE words each; F_UNLESS: one more such place, -1: none
F_UNLESS = 5
FEATURE = 8
PAYLOAD = 3
FLAG_PLACE = 3  # flag word, bit, offset of its counts in a prefix row
# of a bank: one word, aggregate | lane | include | min_count | column of the feature matrix
W_AGG_BITS = 15
W_LANE = 4
W_LANE_BITS = 7
W_INCLUDE = 7
W_MIN = 8
W_MIN_BITS = (1 << 24) - 1
W_OUT = 32

AGG_COUNT = 0
AGG_SUM = 1
AGG_MEAN = 2
AGG_STD = 3
AGG_MIN = 4
AGG_MAX = 5
AGG_DISTINCT = 6
AGG_FIRST = 7
AGG_LAST = 8
AGG_SINCE_FIRST = 9
AGG_SINCE_LAST = 10
AGG_EWMA = 11
AGG_SEQUENCE = 12
