"""What can stop a training. Each error is one line for the person who reads it, and an exit code."""


class Refusal(Exception):
    """The training can't go on; its text says what, where and the remedy."""

    code = 1


class Usage(Refusal):
    """The command line doesn't say what can be done."""

    code = 2


class VersionTaken(Refusal):
    """A checkpoint of this version is there already."""

    code = 2


class NoData(Refusal):
    """There is nothing to train on."""

    code = 78


class Busy(Refusal):
    """This host can't train now and another may: exit code EX_TEMPFAIL."""

    code = 75


class ClaimLost(Refusal):
    """Another host took the job over, since this one was not heard of for too long."""

    code = 75


class OtherSchema(Refusal):
    """SenVec speaks another sentiment schema than this release."""


class Leak(Refusal):
    """The future reached a model."""


class CannotResume(Refusal):
    """There is no state to go on from, or it is of another training."""


class ExportFailed(Refusal):
    """The model that would be served is not the one that was trained."""
