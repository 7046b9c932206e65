"""Contract tests for plug-ins: what smsweep requires of search methods, stopping rules and backends.

Subclass a contract in a test module and set its class attributes. pytest collects the tests of the class. pytest
is not a dependency of smsweep: run `pip install pytest`. Call `pytest.register_assert_rewrite("smsweep.testing")`
in conftest.py for detailed messages.
"""

from __future__ import annotations

from smsweep.testing.backend_contract import BackendContract
from smsweep.testing.search_contract import SearchContract
from smsweep.testing.stopping_contract import StoppingContract

__all__ = ["BackendContract", "SearchContract", "StoppingContract"]
