"""Real Socket.IO on three servers that share rooms through a real Redis, behind conf/examples/socketio.yaml:
its cookie keeps every session at its server, and the loss of a server is the loss of its own clients
alone."""

import asyncio
import json

import pytest

from certificates import Authority, client_context, pair
from examples import local, run_example
from socketio_cluster import Crowd, Member, run_cluster

NAMES = ["a", "b", "c"]
ROOMS = 10


def addresses(cluster):
    return {f"CHAT_{index + 1}": local(cluster.ports[name]) for index, name in enumerate(NAMES)}


def run(conversation, crowd_of, seconds=58):
    """Runs `conversation(crowd)`, and everybody leaves, whatever has happened."""
    async def main():
        crowd = crowd_of()
        try:
            await asyncio.wait_for(conversation(crowd), seconds)
        finally:
            await crowd.leave()
    asyncio.run(main())


async def gather(crowd, cluster):
    """All come in; each room has members at every server, and the servers hear each other."""
    await crowd.open(crowd.members)
    for room in range(crowd.rooms):
        members = crowd.listeners(f"room {room}", crowd.members)
        assert {member.server for member in members} == set(NAMES), "all rooms are everywhere"
    await crowd.wait(lambda: cluster.listeners() == len(NAMES), "the servers to hear each other")


def speakers(members):
    """One of each room."""
    return list({member.room: member for member in members}.values())


def assert_transports(members):
    """Who may change to WebSocket has done so."""
    assert all(member.client.transport() == member.transports[-1] for member in members)


def count(heard, number):
    return sum(one == number for one in heard)


async def converse(crowd, cluster):
    await gather(crowd, cluster)
    assert_transports(crowd.members)
    for name in NAMES:
        # Said at each server, heard at all.
        for speaker in speakers(crowd.at(name)):
            await crowd.say(speaker, crowd.members)
    assert all(len(member.heard) == len(set(member.heard)) == len(NAMES)
               for member in crowd.members), "each thing is heard once"
    assert crowd.refused() == []
    assert all(member.losses == 0 for member in crowd.members)


@pytest.mark.timeout(90)
def test_rooms_reach_clients_of_every_server_over_tls(tmp_path):
    authority = Authority(tmp_path)
    issued = authority.issue("localhost", "127.0.0.1")
    context = client_context(authority, ["http/1.1"])
    with run_cluster(NAMES) as cluster:
        with run_example("socketio", tls=json.dumps(pair(issued)), **addresses(cluster)) as running:
            url = f"https://127.0.0.1:{running.ports[1]}"
            run(lambda crowd: converse(crowd, cluster), lambda: Crowd(url, 60, 6, context))


@pytest.mark.timeout(90)
def test_the_loss_of_a_server_is_noticed_by_its_own_clients_alone():
    """200 clients, a third of them with polling alone. One of the servers is killed under load, its
    clients go on at the others, and when it is back it gets new ones. Nobody else loses a session or
    a word, and no request of theirs comes to a server that does not know it."""
    with run_cluster(NAMES) as cluster, run_example("socketio", **addresses(cluster)) as running:
        url = f"http://127.0.0.1:{running.ports[0]}"
        run(lambda crowd: lose_one(crowd, cluster), lambda: Crowd(url, 200, ROOMS))


async def lose_one(crowd, cluster):
    await converse(crowd, cluster)
    gone = "b"
    lost, others = crowd.at(gone), crowd.at("a", "c")
    assert len(lost) > 40, "it had its share"

    until = asyncio.Event()
    talks = [asyncio.ensure_future(crowd.talk(speaker, others, until))
             for speaker in speakers(others)]
    before = len(others[0].heard)
    await crowd.wait(lambda: len(others[0].heard) > before + 2, "the talk to begin")

    await asyncio.to_thread(cluster.kill, gone)
    await crowd.wait(lambda: all(member.losses for member in lost), "its clients to notice", 15)
    await crowd.wait(lambda: all(member.joined.is_set() for member in lost), "them to come back", 20)
    assert {member.server for member in lost} == {"a", "c"}
    assert_transports(lost)

    # The servers that are left carry everybody.
    for speaker in (lost[0], others[0]):
        await crowd.say(speaker, crowd.members)

    cluster.start(gone)
    await asyncio.to_thread(cluster.wait_ready, gone)
    new = await newcomers(crowd, gone)
    await crowd.wait(lambda: cluster.listeners() == len(NAMES), "it to hear the others")
    await crowd.say(new, crowd.members)
    other = next(m for m in others if m.room == new.room)
    await crowd.say(other, crowd.members)

    until.set()
    spoken = await asyncio.gather(*talks)
    assert sum(map(len, spoken)) > 5 * ROOMS
    for talk, speaker in zip(spoken, speakers(others)):
        for member in crowd.listeners(speaker.room, others):
            assert all(count(member.heard, number) == 1 for number in talk)
    assert [member.number for member in others if member.losses] == []
    assert [member.number for member in lost if member.losses != 1] == []
    assert crowd.refused(but=gone) == []


async def newcomers(crowd, server):
    """Opens clients until one is at `server`, which has been out and is tried again after 10 s."""
    for _ in range(150):
        member = Member(crowd, len(crowd.members))
        crowd.members.append(member)
        await member.open()
        if member.server == server:
            return member
        await asyncio.sleep(0.1)
    raise AssertionError(f"{server} has got no client")
