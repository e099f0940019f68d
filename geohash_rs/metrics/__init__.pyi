# The public names, listed once: type checkers read this file, `__init__` loads from it.
from .measures import Denominator as Denominator
from .measures import average_cumulative_gain as average_cumulative_gain
from .measures import average_precision as average_precision
from .measures import bit_entropy as bit_entropy
from .measures import mean_average_precision as mean_average_precision
from .measures import ndcg as ndcg
from .measures import precision_at as precision_at
from .measures import precision_within as precision_within
from .measures import recall_within as recall_within
from .measures import weighted_average_precision as weighted_average_precision
