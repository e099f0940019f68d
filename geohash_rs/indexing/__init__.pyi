# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .gone import PruneReport as PruneReport
from .moved import RelocateReport as RelocateReport
from .refit_report import RefitPlan as RefitPlan
from .refit_report import RefitReport as RefitReport
from .report import AddReport as AddReport
