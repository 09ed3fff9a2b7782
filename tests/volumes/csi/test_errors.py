"""What an error says about the volume."""

import pytest

from pykubelet.rpc.errors import Code
from pykubelet.volumes.csi.errors import CsiError, DriverNotFoundError

UNCERTAIN = {
    Code.Canceled,
    Code.DeadlineExceeded,
    Code.Unavailable,
    Code.ResourceExhausted,
    Code.Aborted,
}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_final_or_uncertain(code):
    error = CsiError(code, "text")
    assert error.uncertain is (code in UNCERTAIN)
    assert error.final is not error.uncertain
    assert error.infeasible is (code in {Code.InvalidArgument, Code.OutOfRange, Code.NotFound})
    assert error.in_use is (code is Code.FailedPrecondition)


def test_texts():
    assert str(CsiError(Code.Internal, "disk on fire")) == "rpc error: code = Internal desc = disk on fire"
    assert str(DriverNotFoundError("a.b")) == (
        "driver name a.b not found in the list of registered CSI drivers"
    )
    assert str(DriverNotFoundError("")) == "driver name is empty"
