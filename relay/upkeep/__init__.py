"""What is to be done from time to time beside the worker, by one relay of several.

`rematch` looks for records that appeared for unmatched mail. What is found is put back
into the queue; deciding is the worker's. `alerts` looks whether something is wrong, and
tells it by `webhook`, or by notices.
"""

from relay.upkeep.alerts import Alerter
from relay.upkeep.rematch import Rematch

__all__ = ["Alerter", "Rematch"]
