"""What a service's releases on this host were, in their order, and how the host is given one of them.

The folder `var/lib/caelum/revisions/<service>` is the host's truth, see `store`. Everything that changes a service as
one recorded deployment, the reaper too, comes through `apply_recorded` and `apply_revision`.
"""

from __future__ import annotations

from contextlib import nullcontext

from . import host
from .converge import Planned, Scope, plan_instances
from .layout import Layout
from .revision import Pending, Recorded, Revision
from .runtime import Runtime
from .store import Fenced, Revisions

__all__ = ["Fenced", "Pending", "Recorded", "Revision", "Revisions", "Scope", "apply_recorded", "apply_revision"]


def apply_recorded(scope: Scope, revisions: Revisions, what: Recorded, *, token: int | None) -> Planned:
    """Give the host `what`: a release to be recorded, or a revision to return to.

    Under the host's lock: the fence, the plan, `pending.json`, the steps. A plan that is refused leaves what was
    pending as it was. Without a token nothing is marked as pending, which is right only for the current revision.
    Fenced when somebody with a higher token was here.
    """
    with nullcontext() if scope.check else revisions.locked():
        if token is not None:
            if scope.check:
                revisions.refuse_fenced(token)
            else:
                revisions.fence(token)
        planned = plan_instances(scope, what.instances, [revisions.service])
        if not scope.check:
            if token is not None:
                revisions.begin(token, what)
            host.apply(planned.plan, scope.runtime)
        return planned


def apply_revision(  # noqa: PLR0913 - where, what and for whom
    layout: Layout, runtime: Runtime, revisions: Revisions, revision: Revision, *, token: int, check: bool = False
) -> Planned:
    """Return the host to `revision`, which is pending from then on: `commit` makes it current, `discard` forgets it."""
    return apply_recorded(Scope(layout, runtime, check=check), revisions, revision, token=token)
