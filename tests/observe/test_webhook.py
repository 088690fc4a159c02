"""What every channel over HTTPS keeps: TLS, whole messages, refusals that are told, misbehaviour, an end."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.error
import urllib.request

import aiohttp
import pytest
from open_sinks import ADDRESSES, HTTP_CHANNELS, SMALL, TIMEOUT_SECONDS, Open, opened

from harness.errors import FaultError, StackError
from harness.model.sinks import LOOK_PATH, Behaviour
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate, Channel
from harness.observe.channels.registry import CHANNELS

every_channel = pytest.mark.parametrize("channel", HTTP_CHANNELS, ids=lambda channel: channel.name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


async def look(door: Open) -> int:
    """The status that a look gets."""
    async with door.client.get(f"https://{door.sink.address}{LOOK_PATH}") as answer:
        return answer.status


def test_every_channel_but_mail_is_here() -> None:
    """A channel over HTTPS that joins the registry joins this suite."""
    assert {channel.name for channel in HTTP_CHANNELS} == {channel.name for channel in CHANNELS} - {"email"}
    assert set(ADDRESSES) == set(SMALL) == {channel.name for channel in HTTP_CHANNELS}


@every_channel
async def test_a_message_over_verified_tls_arrives(certificate: Certificate, channel: Channel) -> None:
    """It is kept whole and stamped when it was there; nothing is refused."""
    async with opened(channel, certificate) as door:
        before = time.monotonic()
        assert (await door.send()).status in {200, 204}
        (raw,) = door.post.messages
        assert before <= raw.arrived.monotonic <= time.monotonic()
        assert (raw.channel, raw.receiver) == (channel.name, "page")
        assert raw.envelope["tls"].startswith("TLSv1.")
        assert raw.body == SMALL[channel.name].decode()
        assert door.post.refusals == []


@every_channel
async def test_arrival_is_the_end_of_the_body_and_not_its_beginning(certificate: Certificate, channel: Channel) -> None:
    """A message that is long under way arrives when its last byte does."""
    async with opened(channel, certificate) as door:
        body = SMALL[channel.name]
        reader, writer = await asyncio.open_connection(door.sink.address.host, door.sink.address.port, ssl=door.trust)
        path = "/" + door.url().split("/", 3)[3]
        head = "".join(f"{name}: {value}\r\n" for name, value in door.headers().items())
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        for number in range(10):
            writer.write(body[number : number + 1])
            await writer.drain()
            await asyncio.sleep(0.01)
        ended = time.monotonic()
        writer.write(body[10:])
        assert await reader.readline()
        writer.close()
        (raw,) = door.post.messages
        assert raw.arrived.monotonic >= ended


@every_channel
async def test_a_client_that_does_not_trust_us_is_told_of(certificate: Certificate, channel: Channel) -> None:
    """The twin: without the sandbox's authority no message gets through, and the sink says why."""
    async with opened(channel, certificate) as door:

        def post() -> None:
            with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
                urllib.request.urlopen(door.url(), b"{}", TIMEOUT_SECONDS)  # noqa: S310 - our own https URL

        await asyncio.to_thread(post)
        await door.post.refused()
        assert door.post.messages == []
        assert "does not trust the sandbox's authority" in door.post.refusals[0]


@every_channel
async def test_another_path_or_method_is_refused(certificate: Certificate, channel: Channel) -> None:
    """A URL that is not the channel's takes nothing, and that is told."""
    async with opened(channel, certificate) as door:
        assert (await door.send(url=f"https://{door.sink.address}/an/other/path")).status == 404
        async with door.client.put(door.url()) as answer:
            assert answer.status == 405
        assert door.post.messages == []
        assert ["404" in door.post.refusals[0], "405" in door.post.refusals[1]] == [True, True]


@every_channel
async def test_a_connection_cut_in_the_body_is_no_message(certificate: Certificate, channel: Channel) -> None:
    """Half a payload is none: nothing arrives, and it is told."""
    async with opened(channel, certificate) as door:
        host, port = door.sink.address.host, door.sink.address.port
        _, writer = await asyncio.open_connection(host, port, ssl=door.trust)
        path = "/" + door.url().split("/", 3)[3]
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        await writer.drain()
        writer.transport.abort()
        await door.post.refused()
        assert door.post.messages == []
        assert "broke off before its end" in door.post.refusals[0]


@every_channel
async def test_the_receiver_is_known_by_the_path(certificate: Certificate, channel: Channel) -> None:
    """A receiver's name with any character in it comes back, and each message has an id of its own."""
    async with opened(channel, certificate) as door:
        await door.send(url=door.url("team%20%C3%BC%2Fpage"))
        await door.send(url=door.url("health"))
        assert [raw.receiver for raw in door.post.messages] == ["team ü/page", "health"]
        assert len({raw.id for raw in door.post.messages}) == 2
        assert all(raw.id.startswith(f"{channel.name}-") for raw in door.post.messages)


@every_channel
async def test_the_binding_is_of_this_channel_and_hides_its_address(certificate: Certificate, channel: Channel) -> None:
    """Messages are led to loopback, by the channel's own key; a proxy or an authority of production's is removed."""
    async with opened(channel, certificate) as door:
        binding = door.sink.binding
        assert binding.key == channel.receiver_key
        assert door.sink.address.host == "127.0.0.1"
        assert str(door.sink.address) in binding.settings[ADDRESSES[channel.name]]
        assert "http_config" in binding.dropped
        assert "http_config" in binding.global_dropped
        assert set(binding.secret) <= {*binding.settings, *(binding.global_settings or {})}
        assert binding.secret


@every_channel
async def test_a_sink_that_fails_answers_500(certificate: Certificate, channel: Channel) -> None:
    """Nothing is taken and it is told; well again, the next message arrives."""
    async with opened(channel, certificate) as door:
        door.sink.behave(Behaviour.ERROR)
        assert ((await door.send()).status, await look(door)) == (500, 500)
        assert door.post.messages == []
        assert [" 500 " in why for why in door.post.refusals] == [True]
        door.sink.behave(Behaviour.WELL)
        assert (await door.send()).status in {200, 204}
        assert len(door.post.messages) == 1
        assert len(door.post.refusals) == 1


@every_channel
async def test_a_sink_that_throttles_answers_429_and_says_when_to_come_again(
    certificate: Certificate, channel: Channel
) -> None:
    """With Retry-After in whole seconds (RFC 9110, 10.2.3)."""
    async with opened(channel, certificate) as door:
        door.sink.behave(Behaviour.THROTTLE)
        answer = await door.send()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert await look(door) == 429
        assert door.post.messages == []
        assert " 429 " in door.post.refusals[0]


@every_channel
async def test_a_sink_that_hangs_takes_the_request_and_says_nothing(certificate: Certificate, channel: Channel) -> None:
    """Until it is well again: then the client that hung is hung up on, and a new one is served."""
    async with opened(channel, certificate) as door:
        door.sink.behave(Behaviour.HANG)
        sending = asyncio.create_task(door.send())
        await door.post.refused()
        assert "never answered" in door.post.refusals[0]
        assert (await asyncio.wait({sending}, timeout=0.3))[0] == set()
        door.sink.behave(Behaviour.WELL)
        with pytest.raises(aiohttp.ClientError):
            await sending
        assert (await door.send()).status in {200, 204}
        assert len(door.post.messages) == 1


@every_channel
async def test_a_sink_can_be_closed_while_clients_hang(certificate: Certificate, channel: Channel) -> None:
    """Closing does not wait for who waits for us, and our own leaving is no further refusal."""
    hanging: asyncio.Task[object]
    async with opened(channel, certificate) as door:
        door.sink.behave(Behaviour.HANG)
        hanging = asyncio.create_task(door.send())
        await door.post.refused()
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    with pytest.raises((aiohttp.ClientError, RuntimeError)):
        await hanging
    assert len(door.post.refusals) == 1


@every_channel
async def test_a_look_is_answered_and_told_to_nobody(certificate: Certificate, channel: Channel) -> None:
    """A fault may look whether the sink is well and leaves no refused message behind; the twin: a stranger does."""
    async with opened(channel, certificate) as door:
        assert await look(door) == 200
        assert (door.post.messages, door.post.refusals) == ([], [])
        async with door.client.get(f"https://{door.sink.address}/other") as answer:
            assert answer.status in {404, 405}
        assert len(door.post.refusals) == 1


@every_channel
@pytest.mark.parametrize("how", [Behaviour.REFUSE_RECIPIENT, Behaviour.REFUSE_CONTENT])
async def test_what_only_a_mail_server_can_do_is_refused(
    certificate: Certificate, channel: Channel, how: Behaviour
) -> None:
    """HTTP refuses a request as a whole: asked for less, a sink says so and stays as it was."""
    async with opened(channel, certificate) as door:
        with pytest.raises(FaultError, match=f"cannot behave as `{how.value}`"):
            door.sink.behave(how)
        assert (await door.send()).status in {200, 204}


@every_channel
async def test_leaving_closes_the_port(certificate: Certificate, channel: Channel) -> None:
    """After the sink is closed nobody listens."""
    async with opened(channel, certificate) as door:
        await door.send()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((door.sink.address.host, door.sink.address.port), timeout=TIMEOUT_SECONDS)


@every_channel
async def test_a_port_that_cannot_be_had_is_told_in_a_sentence(
    certificate: Certificate, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the system's own exceptions leaves the seam."""

    def full(*_: object, **__: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "create_server", full)
    with pytest.raises(StackError, match="cannot listen"):
        async with opened(channel, certificate):
            pass
