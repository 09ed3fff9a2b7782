"""HTTP as the API server speaks it: from a request to what the registry and the store do."""

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import web
from tests.apiserver import errors, patch, reading, resources
from tests.apiserver.faults import (
    IN_STREAM,
    Cut,
    Expire,
    Fault,
    Faults,
    HalfOpen,
    Hang,
    Malformed,
    Refuse,
    Slow,
)
from tests.apiserver.identity import Identity, Users
from tests.apiserver.registry import Registry
from tests.apiserver.requests import Request, RequestLog
from tests.apiserver.resources import Object, Target
from tests.apiserver.reviews import Reviews
from tests.apiserver.store import Store, Stored

JSON = "application/json"
_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64"}
_HEALTH = ("/healthz", "/readyz", "/livez")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Http:
    """Answers requests."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        reviews: Reviews,
        users: Users,
        faults: Faults,
        log: RequestLog,
        watches: reading.WatchSettings,
    ) -> None:
        self._store = store
        self._registry = registry
        self._reviews = reviews
        self._users = users
        self._faults = faults
        self._log = log
        self._watches = watches

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The handler of every request."""
        target = resources.parse(request.path)
        seen = Request(
            request.method,
            verb(request, target),
            request.path,
            dict(request.query),
            request.headers.get("User-Agent", ""),
            "",
            request.content_type,
        )
        self._log.add(seen)
        try:
            response = await self._faulty(request, target, seen)
        except errors.ApiError as error:
            response = _status(error)
        if not response.prepared:
            seen.code = response.status
        return response

    async def _faulty(
        self, request: web.BaseRequest, target: Target | None, seen: Request
    ) -> web.StreamResponse:
        """The answer, unless a fault strikes first."""
        kinds: tuple[type[Fault], ...] = (Hang, Slow, Refuse)
        kinds += (Expire,) if seen.verb == "watch" else (Malformed, Cut)
        switch = self._faults.strike(seen.verb, request.path, kinds)
        match switch.fault if switch else None:
            case Hang():
                assert switch is not None
                await switch.off.wait()
            case Slow(seconds):
                await asyncio.sleep(seconds)
            case Refuse(code, retry_after, reason, message):
                known = reason or errors.REASONS.get(code, "")
                raise errors.ApiError(code, known, message, retry_after=retry_after)
            case Expire(as_event):
                gone = errors.expired("too old resource version: 1 (1000)")
                if not as_event:
                    raise gone
                return await self._only(request, reading.line("ERROR", msgspec.json.encode(gone.status())))
            case Malformed():
                return web.Response(body=b'{"kind": "Pod", "metadata": {', content_type=JSON)
            case Cut():
                return await self._cut(request)
            case _:
                pass
        return await self._answer(request, target, seen)

    async def _answer(
        self, request: web.BaseRequest, target: Target | None, seen: Request
    ) -> web.StreamResponse:
        identity = self._users.identify(request)
        seen.user = identity.name
        if request.path in _HEALTH:
            return web.Response(text="ok")
        if request.path == "/version":
            return web.json_response(_VERSION)
        if request.method == "GET":
            if target is None:
                raise errors.no_such_path()
            return await self._read(request, target, seen)
        body = await self._body(request)
        seen.body = body
        review = resources.REVIEWS.get(request.path)
        if review is not None and request.method == "POST":
            return web.json_response(self._reviews.answer(review, body), status=201)
        if target is None:
            raise errors.no_such_path()
        return self._write(request, target, body, identity)

    async def _read(self, request: web.BaseRequest, target: Target, seen: Request) -> web.StreamResponse:
        if seen.verb == "watch":
            return await self._watch(request, target, seen)
        if target.name:
            if target.subresource not in ("", "status", "ephemeralcontainers", "resize"):
                raise errors.method_not_allowed()
            return _object(self._registry.get(target))
        return web.Response(
            body=await reading.read_list(self._store, target, request.query), content_type=JSON
        )

    async def _body(self, request: web.BaseRequest) -> Any:
        raw = await request.read()
        if not raw:
            if request.method != "DELETE":
                raise errors.bad_request("no body")
            return {}
        kind = request.content_type
        if request.method == "PATCH":
            if kind not in _PATCHES:
                accepted = ", ".join(_PATCHES)
                raise errors.unsupported_media(
                    "the body of the request was in an unknown format - accepted media types include: "
                    f"{accepted}"
                )
        elif kind not in (JSON, "application/octet-stream"):
            raise errors.unsupported_media(
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json, application/yaml, application/vnd.kubernetes.protobuf"
            )
        try:
            body = msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None
        if not isinstance(body, list if kind == _JSON_PATCH else dict):
            raise errors.bad_request("couldn't get version/kind; json parse error: not an object")
        return body

    def _write(self, request: web.BaseRequest, target: Target, body: Any, identity: Identity) -> web.Response:
        registry = self._registry
        match request.method, target.name, target.subresource:
            case "POST", "", "":
                return _object(
                    registry.create(target, self._reviews.own(target.resource, body, identity)), 201
                )
            case "POST", _, "binding":
                registry.bind(target, body)
                return _success(201)
            case "POST", _, "token":
                account = registry.get(target)
                return web.json_response(self._reviews.token(account.obj, body), status=201)
            case "POST", _, "eviction":
                registry.delete(_whole(target), body.get("deleteOptions") or {})
                return _success(201)
            case "PUT", name, _ if name:
                stored, created = registry.update(target, body)
                return _object(stored, 201 if created else 200)
            case "PATCH", name, _ if name:
                apply = _patcher(request.content_type, target, body)
                return _object(registry.patch(target, apply))
            case "DELETE", name, "" if name:
                return self._delete(target, _delete_options(request, body))
            case "DELETE", "", "":
                options = _delete_options(request, body)
                matches = reading.matcher(target, request.query)
                for item in [item for item in self._store.all(target.resource) if matches(item.obj)]:
                    registry.delete(Target(target.resource, *item.key), options)
                return _success()
        raise errors.method_not_allowed()

    def _delete(self, target: Target, options: Object) -> web.Response:
        resource = target.resource
        stored, gone = self._registry.delete(target, options)
        if not gone or resource.returns_deleted:
            return _object(stored)
        details = {"name": target.name, "group": resource.group, "kind": resource.plural}
        details["uid"] = stored.obj["metadata"]["uid"]
        return _success(details={key: value for key, value in details.items() if value})

    async def _watch(self, request: web.BaseRequest, target: Target, seen: Request) -> web.StreamResponse:
        watch = reading.Watch(self._store, target, request.query, self._watches)
        response = await _stream(request)
        seen.code = 200
        async with contextlib.aclosing(watch.events()) as events:
            async for event in events:
                switch = self._faults.strike("watch", request.path, IN_STREAM)
                match switch.fault if switch else None:
                    case HalfOpen():
                        await _silence()
                    case Cut():
                        await response.write(event[: len(event) // 2])
                        _abort(request)
                        return response
                    case Malformed():
                        await response.write(b'{"type":"MODIFIED","object":{"kind":]}\n')
                    case _:
                        await response.write(event)
        if self._faults.strike("watch", request.path, (HalfOpen,)):
            await _silence()
        return response

    @staticmethod
    async def _only(request: web.BaseRequest, line: bytes) -> web.StreamResponse:
        response = await _stream(request)
        await response.write(line)
        return response

    @staticmethod
    async def _cut(request: web.BaseRequest) -> web.StreamResponse:
        response = await _stream(request)
        await response.write(b'{"kind": ')
        _abort(request)
        return response


_JSON_PATCH = "application/json-patch+json"
_PATCHES = (_JSON_PATCH, "application/merge-patch+json", "application/strategic-merge-patch+json")


def _patcher(content_type: str, target: Target, body: Any) -> Any:
    if content_type == _JSON_PATCH:
        return lambda obj: patch.json_patch(obj, body)
    if content_type == "application/merge-patch+json":
        return lambda obj: patch.merge(obj, body)
    strategic = patch.StrategicMerge(target.resource.kind)
    return lambda obj: strategic.apply(obj, body)


def verb(request: web.BaseRequest, target: Target | None) -> str:
    """The API's verb of a request."""
    named = target is not None and bool(target.name)
    if request.method == "GET":
        if reading.true(request.query, "watch"):
            return "watch"
        return "get" if named or target is None else "list"
    if request.method == "DELETE" and not named:
        return "deletecollection"
    return _VERBS.get(request.method, request.method.lower())


def _whole(target: Target) -> Target:
    return Target(target.resource, target.namespace, target.name)


def _delete_options(request: web.BaseRequest, body: Object) -> Object:
    options = dict(body)
    if "gracePeriodSeconds" in request.query:
        options["gracePeriodSeconds"] = reading.number(request.query, "gracePeriodSeconds")
    return options


async def _stream(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    return response


async def _silence() -> None:
    """As a dead peer: nothing more, even when the fault is gone; the connection's end cancels it."""
    await asyncio.Event().wait()


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _object(stored: Stored, code: int = 200) -> web.Response:
    return web.Response(body=stored.raw, status=code, content_type=JSON)


def _success(code: int = 200, details: Object | None = None) -> web.Response:
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    elif code != 200:
        status["code"] = code
    return web.json_response(status, status=code)


def _status(error: errors.ApiError) -> web.Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return web.json_response(error.status(), status=error.code, headers=headers)
