"""Where things are in the flat arrays of the decoder's kernel, and what can be wrong with a record."""

from enum import IntEnum
from typing import Final

# Slots 0..5 belong to the record, then each table has its key columns and its value columns in a row.
VALID_FROM: Final = 0
VALID_TO: Final = 1
OPERATION: Final = 2
STAMP: Final = 3
ENVELOPE_KEY: Final = 4
BODY: Final = 5
ROLES: Final = 6

# Kinds beyond `pipeline.schema.Kind`, of the record's own slots.
KIND_VALID: Final = 20
KIND_OPERATION: Final = 21
KIND_BODY: Final = 22
KIND_STAMP: Final = 23
KIND_SPAN: Final = 24

# Of state, by slot
ABSENT: Final = 0
NULL: Final = 1
GIVEN: Final = 2

# Of entries, by entry, ...: the members of known objects, and the elements of known arrays
E_WORD: Final = 0
E_LENGTH: Final = 1
E_NODE: Final = 2
E_TABLE: Final = 3
E_ACTION: Final = 4
E_ACTIONS: Final = 5
E_REFUSED: Final = 6
E_PARENT: Final = 7
E_FIELDS: Final = 8

# Of nodes, by node, ...: known objects
N_HEAD: Final = 0
N_OPEN: Final = 1
N_BELOW: Final = 2
N_BELOWS: Final = 3
N_MASK: Final = 4
N_FIELDS: Final = 5

# Of tables, by table, ...
T_ELEMENT: Final = 0
T_KEY: Final = 1
T_VALUE: Final = 2
T_END: Final = 3
T_MASK: Final = 4
T_POSITION: Final = 5
T_BARE: Final = 6
T_FIELDS: Final = 7

# Of columns, by slot, ...
C_KIND: Final = 0
C_PRECISION: Final = 1
C_SCALE: Final = 2
C_WIDTH: Final = 3
C_FIRM: Final = 4
C_LOOSE: Final = 5
C_LABEL: Final = 6
C_LEAST: Final = 7
C_LEAST_HIGH: Final = 8
C_TRUNCATE: Final = 9
C_FIELDS: Final = 10

# Of frames, by depth, ...: containers that are open
F_KIND: Final = 0
F_ENTRY: Final = 1
F_NODE: Final = 2
F_START: Final = 3
F_STAMP: Final = 4
F_LAST: Final = 5
F_INDEX: Final = 6
F_ROW: Final = 7
F_FIELDS: Final = 8

# Of rows, by row, ...: children of the batch
X_TABLE: Final = 0
X_KEY: Final = 1
X_KEY_END: Final = 2
X_PARENT: Final = 3
X_VALUE_END: Final = 4
X_FIELDS: Final = 5

# Of registers, by ...
R_AT: Final = 0
R_CODE: Final = 1
R_FIRM: Final = 2
R_FIRM_LABEL: Final = 3
R_FIRM_AT: Final = 4
R_SOFT: Final = 5
R_SOFT_LABEL: Final = 6
R_SOFT_AT: Final = 7
R_ARENA: Final = 8
R_NEW: Final = 9
R_CONTENT: Final = 10
R_MASK: Final = 11
R_CLOCK: Final = 12
R_FULL: Final = 16
R_MAX_DEPTH: Final = 18
R_ON_NEW: Final = 19
R_UNIT: Final = 20
R_DATED: Final = 21
R_ENVELOPE: Final = 22
R_KEY_ENTRY: Final = 23
R_ROOT: Final = 13
R_NESTED: Final = 14
R_NEXT: Final = 15
R_LABEL: Final = 17
# how full the outputs are, in this order in `marks`
R_ROWS: Final = 24
R_ROW_KEYS: Final = 25
R_ROW_VALUES: Final = 26
R_KEYS: Final = 27
R_VALUES: Final = 28
R_FINAL_KEYS: Final = 29
R_MARKS: Final = 6
# what is wrong with valid_to, which matters only where it is used
R_END: Final = 30
R_END_AT: Final = 31
# the row of a record whose key another one has, too
R_EQUAL: Final = 32
R_BIG: Final = 33
BIG_LIMBS: Final = 160
R_FIELDS: Final = R_BIG + 2 * BIG_LIMBS

# R_FULL: which output was too small
FULL_NONE: Final = -1
FULL_KEYS: Final = 1
FULL_VALUES: Final = 2
FULL_ROWS: Final = 3
FULL_ROW_KEYS: Final = 4
FULL_ROW_VALUES: Final = 5
FULL_OWN_KEYS: Final = 6
FULL_WHOLE_KEYS: Final = 7
FULL_PLACES: Final = 8

# R_ON_NEW
NEW_EVOLVE: Final = 0
NEW_IGNORE: Final = 1
NEW_DEAD_LETTER: Final = 2

# R_UNIT
UNIT_NONE: Final = 0
UNIT_NS: Final = 4
UNITS: Final = {"s": 1, "ms": 2, "us": 3, "ns": UNIT_NS}

# how a decode_block call ended
DONE: Final = 0
STOP_FULL: Final = 1
STOP_NEW: Final = 2

PUT: Final = 0
PATCH: Final = 1
DELETE: Final = 2
TERMINATE: Final = 3
RETRACT: Final = 4
OPERATIONS: Final = ("put", "patch", "delete", "terminate", "retract")

NONE_GIVEN: Final = -(2**63)
LONG: Final = 255
"""The least length of bytes in a payload that takes more than a byte: as in `pipeline.temporal.values`."""
MAX_KEY: Final = 65_536


class Code(IntEnum):
    """What is wrong with a record; 0 is a record that became a change."""

    OK = 0
    EMPTY = 1
    BOM = 2
    NOT_JSON = 3
    TRUNCATED = 4
    BAD_UTF8 = 5
    LONE_SURROGATE = 6
    CONTROL = 7
    TOO_DEEP = 8
    TRAILING = 9
    NOT_OBJECT = 10
    NULL_RECORD = 11
    DUPLICATE = 12
    KEY_MISSING = 20
    KEY_TOO_LONG = 21
    TIME_MISSING = 30
    TIME_TEXT = 31
    TIME_RANGE = 32
    TIME_FRACTION = 33
    LEAP_SECOND = 34
    NO_UNIT = 35
    VALID_FROM_END = 36
    EMPTY_RANGE = 37
    OPERATION = 40
    WRONG_TYPE = 50
    OUT_OF_RANGE = 51
    NOT_INTEGRAL = 52
    SCALE = 53
    PRECISION = 54
    INEXACT = 55
    BAD_UUID = 56
    BAD_BASE64 = 57
    BAD_NUMBER = 58
    BAD_DATE = 59
    NULL_ELEMENT = 60
    CHILD_KEY_MISSING = 62
    CHILD_KEY_EQUAL = 63
    UNPARTITIONED = 65
    UNKNOWN_FIELD = 70
    NAME_COLLIDES = 71
    BIG_NUMBER = 72
    TOO_MANY_COLUMNS = 73
    BAD_NAME = 74
    NO_TIMESTAMP = 80
    NO_VALUE = 81
    AHEAD = 82
