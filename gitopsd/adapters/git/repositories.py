"""The port `SourceRepository`: mirrors kept up to date under a deadline, and read in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from gitopsd.adapters.git import mirrors, reading
from gitopsd.adapters.git.addresses import Address, parse_address, select_repository
from gitopsd.adapters.git.children import Children
from gitopsd.adapters.git.configuration import ignore_configuration
from gitopsd.adapters.git.credentials import Login, load_login, load_push_login
from gitopsd.adapters.git.failures import (
    DAMAGED,
    deadline_error,
    storage_error,
    transfer_error,
)
from gitopsd.adapters.git.known_hosts import host_key_error, load_known_hosts, usable_lines
from gitopsd.adapters.git.mirror_access import MirrorAccess
from gitopsd.adapters.git.mirrors import Mirror, local_head, place_home, place_mirror
from gitopsd.adapters.git.protocol import UnusualError
from gitopsd.adapters.git.quick_fetch import (
    ADVERTISEMENT,
    PUSH_ADVERTISEMENT,
    QuickFetcher,
    find_own,
    remove_ref,
    store_objects,
)
from gitopsd.domain.sources import CommitSha, RefName, RepositorySpec, RepoURL
from gitopsd.errors import DeliveryError, TemporaryError
from gitopsd.source_ports import RemoteTag, SourceHead
from gitopsd.webhooks.payload import parse_ref

DEADLINE = timedelta(seconds=60)
RENEWAL_DEADLINE = timedelta(minutes=15)
UNUSUAL_SECONDS = 600.0
"""How long a remote that speaks otherwise is left to the children."""
LOOKS_PER_CHECK = 32
"""After how many fetches a mirror's growth is looked at again."""
_ALL_TAGS = RefName("refs/tags/*")
_NO_REF = RefName("")
CHILDREN = 2
CHILD_IDLE_SECONDS = 20.0


class GitRepositories(MirrorAccess):
    """Git remotes behind mirrors in the data directory.

    One task at a time writes to a mirror; any number of threads read from it.

    Args:
        root: Directory of the mirrors; this process owns it.
        repositories: The configured credentials, asked for at each fetch.
        allow_local: Accept paths and ``file://`` as addresses, for tests and demonstrations.
        deadline: When a fetch is ended, waiting for its turn included.
        children: How many transfers run at once.
        quick: Fetch small pushes over HTTP without a child.
        child_idle_seconds: How long an unused child is kept.
    """

    def __init__(
        self,
        root: Path,
        repositories: Callable[[], tuple[RepositorySpec, ...]],
        *,
        allow_local: bool = False,
        deadline: timedelta = DEADLINE,
        children: int = CHILDREN,
        child_idle_seconds: float = CHILD_IDLE_SECONDS,
        quick: bool = True,
    ) -> None:
        super().__init__(root, repositories, allow_local=allow_local)
        ignore_configuration()
        self.on_change: Callable[[], None] = lambda: None
        self._deadline_seconds = deadline.total_seconds()
        self._children = Children(size=children, idle_seconds=child_idle_seconds)
        self._http = QuickFetcher()
        self._quick = quick
        self._child_until: dict[RepoURL, float] = {}
        self._clean: set[RepoURL] = set()
        self._looks: dict[RepoURL, int] = {}
        self._renewals: dict[RepoURL, asyncio.Task[None]] = {}

    async def fetch_head(
        self, repo: RepoURL, ref: RefName, *, previous: CommitSha | None = None
    ) -> SourceHead | None:
        """Fetch a ref and tell where it points; None when the remote does not have it.

        Safe to repeat: the same ref, fetched again.

        Raises:
            TemporaryError: The remote did not answer within the deadline, or refused for now.
            PermanentError: The address or the credentials' configuration cannot be used.
        """
        address = parse_address(repo, allow_local=self._allow_local)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._fetch_head(address, ref, previous)
        except TimeoutError as error:
            raise deadline_error(address, ref, self._deadline_seconds) from error
        except OSError as error:
            raise storage_error(address, error) from error

    async def fetch_tags(self, repo: RepoURL) -> Mapping[str, RemoteTag]:
        """Ask for all tags; fetches nothing of what they point to. Safe to repeat: it only reads.

        Raises:
            TemporaryError: The remote did not answer within the deadline, or refused for now.
            PermanentError: The address or the credentials' configuration cannot be used.
        """
        address = parse_address(repo, allow_local=self._allow_local)
        try:
            async with asyncio.timeout(self._deadline_seconds):
                found = await self._fetch_tags(address)
        except TimeoutError as error:
            raise deadline_error(address, _ALL_TAGS, self._deadline_seconds) from error
        except OSError as error:
            raise storage_error(address, error) from error
        return {
            name: RemoteTag(CommitSha(target), CommitSha(commit))
            for name, (target, commit) in found.items()
            if _is_tag(name)
        }

    async def _fetch_tags(self, address: Address) -> dict[str, tuple[str, str]]:
        mirror = place_mirror(self._root, address.url)
        async with self._locks.setdefault(address.url, asyncio.Lock()):
            login = await asyncio.to_thread(self._prepare, address, mirror)
            if self._is_quick(address):
                try:
                    return await self._http.find_tags(address, _ALL_TAGS, login)
                except UnusualError:
                    self._leave_to_children(address)
            answer = await self._ask_child(address, mirror, _NO_REF, login)
        _read_answer(answer, address, _ALL_TAGS, login)
        return {name: (target, commit) for name, (target, commit) in answer["tags"].items()}

    async def _fetch_head(
        self, address: Address, ref: RefName, previous: CommitSha | None
    ) -> SourceHead | None:
        mirror = place_mirror(self._root, address.url)
        async with self._locks.setdefault(address.url, asyncio.Lock()):
            login = await asyncio.to_thread(self._prepare, address, mirror)
            try:
                if address.url in self._damaged:
                    target = await self._renew(address, mirror, ref, login)
                else:
                    target = await self._update(address, mirror, ref, login, previous)
                history = await self._describe(mirror, target, previous)
            except TemporaryError as error:
                if error.reason != DAMAGED:
                    raise
                target = await self._renew(address, mirror, ref, login)
                history = await self._describe(mirror, target, previous)
        await self._consider_renewal(address, mirror, ref)
        if history is None:
            return None
        if history.commit.sha != previous:
            self.on_change()
        return SourceHead(history.commit, history.rewound, history.to_ancestor)

    def _prepare(
        self,
        address: Address,
        mirror: Mirror,
        load: Callable[[Address, RepositorySpec | None], Login] = load_login,
    ) -> Login:
        """Read the credentials, and clean the mirror when this process first uses it."""
        login = load(address, select_repository(address.url, self._repositories()))
        if address.scheme == "ssh" and not login.known_hosts_file:
            raise host_key_error(address, login)
        if address.url not in self._clean and mirrors.remove_leftovers(mirror):
            self._clean.add(address.url)
        return login

    async def _update(
        self,
        address: Address,
        mirror: Mirror,
        ref: RefName,
        login: Login,
        previous: CommitSha | None,
    ) -> str | None:
        """Fetch a ref the quick way where that is possible, else by a child."""
        if self._is_quick(address) and await asyncio.to_thread(mirror.path.is_dir):
            try:
                return await self._update_quickly(address, mirror, ref, login, previous)
            except UnusualError:
                self._leave_to_children(address)
            except reading.DamageError as error:
                raise TemporaryError(str(error), reason=DAMAGED) from error
        return await self._transfer(address, mirror, ref, login)

    def _is_quick(self, address: Address) -> bool:
        now = asyncio.get_running_loop().time()
        return self._quick and address.over_http and now >= self._child_until.get(address.url, 0)

    def _leave_to_children(self, address: Address) -> None:
        now = asyncio.get_running_loop().time()
        self._child_until[address.url] = now + UNUSUAL_SECONDS

    async def _update_quickly(
        self,
        address: Address,
        mirror: Mirror,
        ref: RefName,
        login: Login,
        previous: CommitSha | None,
    ) -> str | None:
        local = local_head(ref)
        own = await asyncio.to_thread(find_own, mirror, local)
        target = await self._http.find_target(address, ref, login)
        if target == own:
            return target
        if target is None:
            await asyncio.to_thread(remove_ref, mirror, local)
            return None
        self.on_change()
        if own is None and previous is not None:  # another tag than the last one
            own = await asyncio.to_thread(find_own, mirror, f"{mirrors.PINS}{previous}")
        if own is None:
            return await self._transfer(address, mirror, ref, login)
        try:
            pack = await self._http.fetch_objects(address, ref, login, target, own)
            await asyncio.to_thread(store_objects, mirror, local, target, pack)
        except UnusualError:
            # A large push, or a rewritten history: no reason to ask the child the next time.
            return await self._transfer(address, mirror, ref, login)
        return target

    async def _transfer(
        self,
        address: Address,
        mirror: Mirror,
        ref: RefName,
        login: Login,
        *,
        renew: bool = False,
    ) -> str | None:
        """Let a child fetch a ref; returns its target, None when the remote does not have it."""
        answer = await self._ask_child(address, mirror, ref, login, renew=renew)
        return _read_answer(answer, address, ref, login)

    async def _ask_child(
        self,
        address: Address,
        mirror: Mirror,
        ref: RefName,
        login: Login,
        *,
        renew: bool = False,
        push: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Let a child fetch a ref, list tags when none is named, or push a commit."""
        if address.over_http:
            place = ADVERTISEMENT if push is None else PUSH_ADVERTISEMENT
            await self._http.check_place(address, ref or _ALL_TAGS, login, place)
        home = await asyncio.to_thread(self._place_home, login)
        request = {
            "mirror": str(mirror.next if renew else mirror.path),
            "lock": str(mirror.lock),
            "old": str(mirror.path) if renew else "",
            "home": str(home),
            "url": address.url,
            "ref": ref,
            "local": local_head(ref),
            "user": login.user,
            "password": login.password,
            "ssh_key_file": login.ssh_key_file,
            "ca_file": login.ca_file,
            **(push or {}),
        }
        try:
            return await self._children.run_transfer(request)
        except BaseException:
            # The killed child may have left a lock; whoever comes next cleans the mirror first.
            self._clean.discard(address.url)
            raise

    def _place_home(self, login: Login) -> Path:
        known_hosts = load_known_hosts(login.known_hosts_file)
        return place_home(self._root, usable_lines(known_hosts))

    @staticmethod
    async def _describe(
        mirror: Mirror, target: str | None, previous: CommitSha | None
    ) -> reading.History | None:
        if target is None:
            return None
        try:
            return await asyncio.to_thread(reading.describe_head, mirror.path, target, previous)
        except reading.DamageError as error:
            raise TemporaryError(str(error), reason=DAMAGED) from error

    async def _renew(
        self, address: Address, mirror: Mirror, ref: RefName, login: Login
    ) -> str | None:
        """Clone beside the mirror, take its refs over, and swap. The mirror's lock is held."""
        self._clean.discard(address.url)
        await asyncio.to_thread(mirrors.remove_leftovers, mirror)
        target = await self._transfer(address, mirror, ref, login, renew=True)
        await asyncio.to_thread(mirrors.swap, mirror)
        self._damaged.discard(address.url)
        return target

    async def _consider_renewal(self, address: Address, mirror: Mirror, ref: RefName) -> None:
        looks = self._looks.get(address.url, 0)
        self._looks[address.url] = looks + 1
        if looks % LOOKS_PER_CHECK or address.url in self._renewals:
            return
        if not await asyncio.to_thread(mirrors.is_overgrown, mirror):
            return
        task = asyncio.create_task(self._renew_later(address, mirror, ref))
        self._renewals[address.url] = task
        task.add_done_callback(lambda _: self._renewals.pop(address.url, None))

    async def _renew_later(self, address: Address, mirror: Mirror, ref: RefName) -> None:
        """Make an overgrown mirror anew; when that fails, the next fetch sees it again."""
        try:
            async with asyncio.timeout(RENEWAL_DEADLINE.total_seconds()), self._locks[address.url]:
                login = await asyncio.to_thread(self._prepare, address, mirror)
                await self._renew(address, mirror, ref, login)
        except (TemporaryError, TimeoutError):
            return

    async def push_commit(
        self, repo: RepoURL, ref: RefName, sha: CommitSha, *, onto: CommitSha
    ) -> str | None:
        """Move a remote ref from ``onto`` to a commit; returns why the remote refused, or None.

        Safe to repeat: a ref that does not point to ``onto`` any more stays where it is.

        Raises:
            TemporaryError: The remote did not answer within the deadline, or refused for now.
            PermanentError: The address or the credentials' configuration cannot be used.
        """
        address = parse_address(repo, allow_local=self._allow_local)
        mirror = place_mirror(self._root, repo)
        try:
            async with (
                asyncio.timeout(self._deadline_seconds),
                self._locks.setdefault(repo, asyncio.Lock()),
            ):
                login = await asyncio.to_thread(self._prepare, address, mirror, load_push_login)
                push = {"push": str(sha), "onto": str(onto)}
                answer = await self._ask_child(address, mirror, ref, login, push=push)
        except TimeoutError as error:
            raise deadline_error(address, ref, self._deadline_seconds, "pushing") from error
        except OSError as error:
            raise storage_error(address, error) from error
        if "error" in answer:
            raise transfer_error(address, ref, login, str(answer["error"]), str(answer["message"]))
        return str(answer["refused"]) or None

    async def close(self) -> None:
        """End children and renewals. Safe to repeat: there are none left."""
        for task in list(self._renewals.values()):
            task.cancel()
        await asyncio.gather(*self._renewals.values(), return_exceptions=True)
        await self._children.close()
        await self._http.close()


def _is_tag(name: str) -> bool:
    """Tell whether Git would take a name; a remote that says others means to be misread by it."""
    try:
        parse_ref(f"refs/tags/{name}")
    except DeliveryError:
        return False
    return True


def _read_answer(
    answer: dict[str, Any], address: Address, ref: RefName, login: Login
) -> str | None:
    if "error" not in answer:
        head = answer.get("head")
        return None if head is None else str(head)
    reason, detail = str(answer["error"]), str(answer.get("message", ""))
    if reason == DAMAGED:
        raise TemporaryError(detail, reason=DAMAGED)
    raise transfer_error(address, ref, login, reason, detail)
