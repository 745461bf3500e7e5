"""Where everything stands: the words of the compiled plan and of the window memory.

Both are one int64 array. The plan ``p`` is written once by ``plan.py`` and only read by the kernels, so
that declarations are data and nothing is compiled for them. The memory ``m`` holds all keys of all kinds.

Memory
------
``m[0:CONTROL]``        counters (``C_*``), then ``KIND_STATE`` words for each kind: live keys, free
                        segments by size class
scratch                 the current event's words, window borders, values seen
headers                 ``HEADER`` words (64 bytes, one cache line) a key: ``H_*``
index                   two areas used in turn, open addressing: a slot is ``hash bits << 32 | key + 1``
segments                bump allocation and free lists; capacities are powers of two from ``CAPACITY_MIN``

A segment holds the kept events of one key, sorted by (time, log order), columns side by side::

    frozen words | word 0 of every event | flag words | value columns | summary (from CAPACITY_LARGE)

Word 0 is ``time_ms << TIME_SHIFT | flags``; flag i says that the event enters the i-th *need* of the kind
(its ``where`` is true and its ``of`` fields are present). Flags beyond ``TIME_SHIFT`` stand in flag words.

The summary of a large segment is redundant: prefix sums at every ``BLOCK`` events, minima and maxima of
blocks in levels of ``FAN``, and for each distinct column the most recently seen values.
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
DAY_MS = 86_400_000
KEY_LIFE_MS = 400 * DAY_MS
"""How long a key without windows is remembered after its last event."""
NEVER = -(1 << 62)
"""A time before every other."""
FOREVER = 1 << 61
"""The window of a feature without one."""

# --- memory: control ---------------------------------------------------------------------------------
C_HEADERS = 0  # where headers begin
C_HEADERS_END = 1
C_INDEX = 2  # where the index in use begins
C_INDEX_MASK = 3  # its slots - 1
C_ARENA = 4  # next free word of segments
C_ARENA_END = 5
C_USED = 6  # header slots ever used
C_FREE = 7  # first free header slot + 1
C_KEYS = 8  # live keys
C_SWEEP = 9  # next header to look at for eviction
C_SCRATCH = 10  # where scratch begins
C_FAILED = 11  # 1: memory is exhausted
C_ARENA_BEGIN = 12
CONTROL = 16
KIND_STATE = 32  # live keys, CLASSES free lists, spare

# --- memory: header of a key -------------------------------------------------------------------------
H_LOW = 0
H_HIGH = 1
H_BASE = 2  # segment
H_META = 3  # kind << 8 | size class; -1: free
H_SPAN = 4  # first kept event << 32 | end of the kept events
H_VALID = 5  # blocks of the summary that are up to date; the next free slot in a free header
H_DROPPED = 6  # time of the last event dropped by max_events_per_key
H_LAST = 7  # time of the last event
HEADER = 8

# --- plan: head --------------------------------------------------------------------------------------
P_KINDS = 0
P_LATENESS = 1
P_EVENTS_MAX = 2
P_SCRATCH_BORDERS = 3  # offsets inside scratch
P_SCRATCH_SEEN = 4
P_SCRATCH_WORDS = 5
P_LARGE = 6  # CAPACITY_LARGE
P_SCAN = 7  # SCAN_MAX
P_RECORDS = 8  # kind records begin here

# --- plan: kind --------------------------------------------------------------------------------------
K_KEY = 0  # list of batch rows, one for each word of the key
K_KEY_WORDS = 1
K_NEEDS = 2  # list of need records
K_NEED_COUNT = 3
K_COLUMNS = 4  # list of column records
K_COLUMN_COUNT = 5
K_WORDS = 6  # words of an event
K_FLAG_WORDS = 7  # flag words beside word 0
K_WINDOWS = 8  # list of windows in rising order, FOREVER last
K_WINDOW_COUNT = 9
K_ACCS = 10  # list of accumulator records
K_ACC_COUNT = 11
K_RETAIN = 12  # events at or before watermark - this are invisible
K_LIFE = 13  # a key is forgotten when watermark - last event > this
K_WINDOW_MAX = 14  # longest window, NEVER: none
K_WINDOWLESS = 15  # 1: some feature has no window
K_FROZEN_WORDS = 16
K_FROZENS = 17  # list of frozen records
K_FROZEN_COUNT = 18
K_PREFIX_WORDS = 19  # words of one prefix row
K_EXTREMES = 20  # accumulators with minima and maxima
K_LISTS = 21  # distinct accumulators
K_LIST_MAX = 22  # longest list of values
KIND = 24

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
A_SHIFT = 2  # bit in it, -1: every event
A_COLUMN = 3  # value column
A_SPANS = 4  # list of (window number, first feature, end of features)
A_SPAN_COUNT = 5
A_PREFIX = 6  # offset in a prefix row
A_EXTREME = 7  # number among those with minima and maxima, -1: none
A_SQUARES = 8  # 1: some feature needs squares
A_POSITIONS = 9  # 1: some feature needs the first or last event
A_LIST = 10  # distinct: number of the value list
A_FROZEN = 11  # offset of its frozen words, -1: none
A_PAYLOAD = 12  # frozen payload words
ACC = 13
SPAN = 3
CLASS_EVENTS = 0  # count, first, last, since_*
CLASS_NUMBERS = 1  # sum, mean, std, min, max
CLASS_VALUES = 2  # distinct

# --- plan: frozen: first and last match among events no longer kept ----------------------------------
Z_FLAG = 0
Z_SHIFT = 1
Z_OFFSET = 2  # words: count, time of the first, time of the last, payload of the first, of the last
Z_PAYLOAD = 3  # list of columns
Z_PAYLOAD_COUNT = 4
FROZEN = 5
FROZEN_HEAD = 3

# --- plan: feature -----------------------------------------------------------------------------------
F_AGG = 0
F_OUT = 1  # column of the feature matrix
F_MIN = 2  # min_count
F_INCLUDE = 3  # 1: the current event counts
F_SCALE = 4  # binary64 bits of 10 ** decimals for fixed point, 0: integers stay integers
F_MAX = 5  # distinct: cap
F_PAYLOAD = 6  # list of (column or -1 for the time, output column, frozen payload number)
F_PAYLOAD_COUNT = 7
FEATURE = 8
PAYLOAD = 3

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
