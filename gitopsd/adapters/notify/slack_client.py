"""Slack's Web API: one call, bounded and without retries of its own, and what its answers mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from gitopsd.adapters.notify.outgoing import (
    USER_AGENT,
    Outgoing,
    UnclearError,
    UnsentError,
    find_pause,
    read_token,
)
from gitopsd.domain.channels import ChannelSpec
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import MISCONFIGURED, Clock

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.web.async_client import AsyncWebClient

PUBLIC_URL = "https://slack.com/api/"

_OK = 200
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)
_NOT_NOW = (408, 425, 429)
_LIMITED = ("ratelimited", "rate_limited", "accesslimited", "message_limit_exceeded")
# What Slack documents as having perhaps been done in part.
_UNCLEAR = ("internal_error", "fatal_error", "service_unavailable", "request_timeout")
_SIGN_IN = "put the bot token of an installed app (xoxb-...) into {file}"
_INVITE = "invite the app to the conversation {conversation}, or correct its id in the channel"
_REMEDIES: Mapping[str, str] = {
    "invalid_auth": _SIGN_IN,
    "not_authed": _SIGN_IN,
    "token_revoked": _SIGN_IN,
    "token_expired": _SIGN_IN,
    "account_inactive": _SIGN_IN,
    "not_allowed_token_type": _SIGN_IN,
    "org_login_required": _SIGN_IN,
    "team_access_not_granted": _SIGN_IN,
    "missing_scope": "give the app the scope {needed} and install it again",
    "no_permission": "give the app the scope chat:write and install it again",
    "channel_not_found": _INVITE,
    "not_in_channel": _INVITE,
    "is_archived": "take the conversation {conversation} out of the archive, or name another one",
    "restricted_action": "let the app post to the conversation {conversation}",
    "restricted_action_read_only_channel": "let the app post to the conversation {conversation}",
    "restricted_action_thread_only_channel": "let the app begin threads in {conversation}",
    "ekm_access_denied": "ask the administrators of the workspace",
    "access_denied": "ask the administrators of the workspace",
    "two_factor_setup_required": "ask the administrators of the workspace",
}

_Answer: TypeAlias = Mapping[str, Any]
Calling: TypeAlias = "Callable[[AsyncWebClient], Awaitable[Any]]"
"""Calls one method of the client."""


class RefusedMessageError(PermanentError):
    """Slack refused this one message, whatever becomes of others.

    Args:
        message: One sentence.
        code: Slack's word for it, e.g. ``message_not_found``.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SlackSetupError(PermanentError):
    """Slack refuses whatever is sent until a person changes something.

    Args:
        message: One sentence, and what to change.
        code: Slack's word for it, e.g. ``missing_scope``; empty when it said none.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message, reason=MISCONFIGURED)
        self.code = code


class SlackClient:
    """Calls Slack's Web API.

    Args:
        outgoing: Connections.
        clock: Time, for dates in ``Retry-After``.
        base_url: Address of the API; empty for the public one.
    """

    def __init__(self, outgoing: Outgoing, clock: Clock, base_url: str = "") -> None:
        self._outgoing = outgoing
        self._clock = clock
        self._base_url = base_url or PUBLIC_URL

    async def call(self, channel: ChannelSpec, calling: Calling) -> _Answer:
        """Call one method.

        Raises:
            UnsentError: It was not done, and may be later; with Slack's own ``retry_after``.
            UnclearError: It may have been done or not.
            RefusedMessageError: This message is refused.
            SlackSetupError: A person must change something first.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError

        where = f"channel {channel.name}: Slack"
        client = self._client(channel, where)
        try:
            async with self._outgoing.request_to(where):
                response = await calling(client)
                answer = response.data
        except SlackApiError as error:
            raise self._judge(channel, where, error) from error
        except SlackClientError as error:
            message = f"{where}: {redact_clause(str(error))}"
            raise RefusedMessageError(message, code="client") from error
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            # What is no JSON object trips the client up in its own ways.
            raise UnclearError(f"{where} answered something that is not its own") from error
        if not isinstance(answer, Mapping):
            raise UnclearError(f"{where} answered something that is not its own")
        return answer

    def _client(self, channel: ChannelSpec, where: str) -> AsyncWebClient:
        client = _client_class()(
            token=read_token(where, channel.token_file),
            base_url=self._base_url,
            session=self._outgoing.session(),
            user_agent_prefix=USER_AGENT,
            retry_handlers=[],  # retries are the outbox's
        )
        client.proxy = None  # it reads one from the environment, which is not how we are set up
        return client

    def _judge(
        self, channel: ChannelSpec, where: str, error: SlackApiError
    ) -> TemporaryError | PermanentError:
        response: Any = error.response
        status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
        headers = getattr(response, "headers", None) or {}
        data = getattr(response, "data", None)
        data = data if isinstance(data, Mapping) else {}
        code = redact_clause(str(data.get("error") or ""))[:100]
        said = f"{where} answered {status}" + (f": {code}" if code else "")
        if status in _NOT_NOW or code in _LIMITED:
            return UnsentError(said, retry_after=find_pause(headers, self._clock.now()))
        if code in _REMEDIES:
            return SlackSetupError(f"{said}. {_advise(channel, code, data)}", code=code)
        if status == _OK and code and code not in _UNCLEAR:
            return RefusedMessageError(said, code=code)
        if status in _REDIRECTS or status in _CLIENT_ERRORS:
            advice = "Set GITOPSD_SLACK__BASE_URL to the address of Slack's API"
            return SlackSetupError(f"{said}. {advice}")
        return UnclearError(said, retry_after=find_pause(headers, self._clock.now()))


@cache
def _client_class() -> type[AsyncWebClient]:
    from slack_sdk.web.async_client import AsyncWebClient

    class Client(AsyncWebClient):
        """The client, but for redirects: the token is for the configured address alone."""

        async def _request(
            self, *, http_verb: str, api_url: str, req_args: dict[str, Any]
        ) -> dict[str, Any]:
            once = {**req_args, "allow_redirects": False}
            return await super()._request(http_verb=http_verb, api_url=api_url, req_args=once)

    return Client


def _advise(channel: ChannelSpec, code: str, data: _Answer) -> str:
    needed = redact_clause(str(data.get("needed") or "it needs"))[:200]
    remedy = _REMEDIES[code].format(
        file=channel.token_file, conversation=channel.conversation, needed=needed
    )
    return remedy[0].upper() + remedy[1:]
