"""From probes to the specification's `GET /api/system/health`, field for field. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pim.probes import Probe, Status, halted
from pim.training import Training

# The order of the specification's example.
MICROSERVICES = ("sentimentrader", "alphavantage", "social", "news", "aggregator")


def system_health(
    fincoll: Probe, senvec: Mapping[str, Probe], training: Sequence[Training] | None, now: datetime
) -> dict[str, Any]:
    """The whole document. `training` is None when the share has not answered for a while."""
    return {
        "status": overall(fincoll.status, senvec_status(senvec)),
        "timestamp": timestamp(now),
        "services": {
            "fincoll": {
                "status": fincoll_status(fincoll),
                "version": fincoll.version,
                "url": fincoll.url,
                "response_time_ms": fincoll.response_time_ms,
                "last_prediction": fincoll.facts.get("last_prediction"),
            },
            "senvec": {
                "status": senvec_status(senvec),
                "version": senvec["aggregator"].version,
                "url": senvec["aggregator"].url,
                "microservices": {name: senvec[name].status for name in ordered(senvec)},
            },
            "finvec": finvec(training),
        },
    }


def overall(fincoll: Status, senvec: Status) -> Status:
    """The ecosystem's state: down without FinColl, which it cannot do without; degraded when either limps.

    A halted FinColl counts as degraded: it is up, and silent because somebody wants it so.
    """
    if fincoll == "down":
        return "down"
    return "healthy" if fincoll == senvec == "healthy" else "degraded"


def fincoll_status(fincoll: Probe) -> str:
    """FinColl's state as people should read it: halted where it is well and was told to be silent."""
    return "halted" if fincoll.status != "down" and halted(fincoll.facts) else fincoll.status


def senvec_status(senvec: Mapping[str, Probe]) -> Status:
    """SenVec's state as its callers feel it: the aggregator's own, degraded when one of the others is down.

    A microservice that answers but is degraded itself leaves SenVec healthy, as in the specification's example: its
    masked values are part of every vector's contract.
    """
    own = senvec["aggregator"].status
    if own == "healthy" and any(probe.status == "down" for probe in senvec.values()):
        return "degraded"
    return own


def finvec(training: Sequence[Training] | None) -> dict[str, Any]:
    """FinVec's part: the job that trains (the first by host), and each host's GPU."""
    if training is None:
        return {"status": "unknown", "current_job": None, "progress": None, "eta": None, "gpu_usage": {}}
    usage = {report.host: report.gpu_usage for report in training}
    for status in ("training", "stalled"):
        for report in training:
            if report.status == status:
                progress = None if report.progress is None else f"{report.progress:.0%}"
                return {
                    "status": status,
                    "current_job": report.current_job,
                    "progress": progress,
                    "eta": report.eta,
                    "gpu_usage": usage,
                }
    return {"status": "idle", "current_job": None, "progress": None, "eta": None, "gpu_usage": usage}


def ordered(senvec: Mapping[str, Probe]) -> list[str]:
    """SenVec's names in the specification's order, any others after them."""
    known = [name for name in MICROSERVICES if name in senvec]
    return known + sorted(set(senvec) - set(known))


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second, with Z as the specification writes it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
