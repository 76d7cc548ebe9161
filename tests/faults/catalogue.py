"""All faults, in the order of the table."""

from tests.faults.catalogue_of_kills import KILLS

FAULTS = [*KILLS.faults]
