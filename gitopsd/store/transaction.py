"""One transaction: every repository over one session, one time, one installation."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from gitopsd.store.agreements import SqlAgreements
from gitopsd.store.clock import StoreClock
from gitopsd.store.deliveries import SqlDeliveries
from gitopsd.store.encryption import Cipher
from gitopsd.store.handles import SqlHandles
from gitopsd.store.images import SqlImages
from gitopsd.store.pushes import SqlPushes
from gitopsd.store.records import SqlRecords
from gitopsd.store.refs import SqlRefs
from gitopsd.store.releases import SqlReleases
from gitopsd.store.rendered import SqlRenderedSets
from gitopsd.store.runs import SqlRuns
from gitopsd.store.session import Session
from gitopsd.store.skips import SqlSkips
from gitopsd.store.specs import SqlSpecs
from gitopsd.store.stages import SqlStages
from gitopsd.store.verifications import SqlQuarantines, SqlVerifications
from gitopsd.store.votes import SqlVotes
from gitopsd.store.work import SqlWork


class SqlTransaction:
    """Everything stored, inside one transaction; implements ``store_ports.Transaction``.

    Repositories are made when first asked for: most transactions touch three or four.

    Args:
        session: The transaction.
        clock: Tells the time.
        installation: Id of the installation.
        cipher: Seals sensitive objects; None without an encryption key.
        sensitive_kinds: Kinds whose objects are sealed.
    """

    def __init__(
        self,
        session: Session,
        clock: StoreClock,
        *,
        installation: str,
        cipher: Cipher | None,
        sensitive_kinds: frozenset[str],
    ) -> None:
        self._session = session
        self._clock = clock
        self._cipher = cipher
        self._sensitive_kinds = sensitive_kinds
        self.installation = installation

    @cached_property
    def now(self) -> datetime:
        """The database's time, asked once in a transaction; never before an earlier one's."""
        return self._clock.tell(self._session)

    def _tell(self) -> datetime:
        return self.now

    @cached_property
    def deliveries(self) -> SqlDeliveries:
        """The inbox."""
        return SqlDeliveries(self._session)

    @cached_property
    def refs(self) -> SqlRefs:
        """Watched refs."""
        return SqlRefs(self._session)

    @cached_property
    def pushes(self) -> SqlPushes:
        """Who pushed which commit."""
        return SqlPushes(self._session)

    @cached_property
    def releases(self) -> SqlReleases:
        """Releases, offers, seen commits, renderings."""
        return SqlReleases(self._session)

    @cached_property
    def images(self) -> SqlImages:
        """Followed, resolved and pinned images."""
        return SqlImages(self._session)

    @cached_property
    def rendered(self) -> SqlRenderedSets:
        """Rendered sets."""
        return SqlRenderedSets(self._session, self._cipher, self._sensitive_kinds)

    @cached_property
    def specs(self) -> SqlSpecs:
        """Revisions of application files."""
        return SqlSpecs(self._session)

    @cached_property
    def stages(self) -> SqlStages:
        """Stages and leases."""
        return SqlStages(self._session, self._tell)

    @cached_property
    def verifications(self) -> SqlVerifications:
        """What was verified."""
        return SqlVerifications(self._session)

    @cached_property
    def runs(self) -> SqlRuns:
        """Runs and what is kept with them."""
        return SqlRuns(self._session)

    @cached_property
    def work(self) -> SqlWork:
        """The outbox."""
        return SqlWork(self._session, self._tell)

    @cached_property
    def votes(self) -> SqlVotes:
        """Approvals and rejections."""
        return SqlVotes(self._session)

    @cached_property
    def skips(self) -> SqlSkips:
        """Gates that people let runs pass."""
        return SqlSkips(self._session)

    @cached_property
    def agreements(self) -> SqlAgreements:
        """How far Git agrees with Rollbacks."""
        return SqlAgreements(self._session)

    @cached_property
    def quarantines(self) -> SqlQuarantines:
        """Quarantined bytes."""
        return SqlQuarantines(self._session)

    @cached_property
    def handles(self) -> SqlHandles:
        """Where channels show what."""
        return SqlHandles(self._session)

    @cached_property
    def records(self) -> SqlRecords:
        """Tokens, freezes, audit and the like."""
        return SqlRecords(self._session, self._tell)
