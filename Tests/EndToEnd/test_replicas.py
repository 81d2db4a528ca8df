"""Replicas share nothing but their file: one that dies or is drained takes no session with it."""

import asyncio
import signal

import pytest

import admin
from replicas import BALANCER, CLIENTS, REPLICAS, crowd, site, summary

pytestmark = pytest.mark.timeout(120)
COUNT = 300


def lose_one(running, scenario):
    """Runs `scenario(people, gone)` with everybody inside, where the replica `gone` is to go."""
    async def run():
        async with crowd(COUNT) as people:
            assert all(len(people.at(replica)) >= COUNT // 4 for replica in REPLICAS)
            assert len({client.backend for client in people.clients}) == 3
            await everybody_is_known(running, people, [*REPLICAS, BALANCER])
            await scenario(people, REPLICAS[0])

    with running.hosts[CLIENTS].inside():
        asyncio.run(run())


async def everybody_is_known(running, people, addresses):
    """The cookie of each client leads to its backend through any of `addresses`."""
    cookies = [client.cookie for client in people.clients]
    wanted = [client.backend for client in people.clients]
    for address in addresses:
        assert await asyncio.to_thread(running.ask, address, cookies) == wanted, address


async def come_back(people, cut, others):
    """Waits until the clients in `cut` have come back, to their backends, with nobody else disturbed."""
    await people.wait(lambda: all(client.cuts and client.replica for client in cut),
                      f"{len(cut)} clients to come back", 30)
    assert {client.replica for client in cut} == set(REPLICAS[1:])
    assert all(len(client.backends) == 1 for client in people.clients)
    assert all(len(client.cuts) == 1 for client in cut)
    assert not any(client.cuts for client in others)
    # And are still there: each has said something since.
    said = [client.said for client in others]
    await people.wait(lambda: all(client.said > before for client, before in zip(others, said)),
                      "the others to go on")


@pytest.mark.parametrize("way", ["killed", "unplugged"])
def test_clients_of_a_replica_that_dies_come_back_to_their_backends_through_the_others(way):
    def end(gone):
        if way == "unplugged":
            # Its machine is gone: nobody notices but the balancer, which asks.
            running.hosts[gone].ip("link set eth0 down")
        else:
            running.gateways[gone].process.kill()

    async def scenario(people, gone):
        cut, others = people.at(gone), people.at(*REPLICAS[1:])
        end(gone)
        ended = people.now()
        await come_back(people, cut, others)
        assert {code for client in cut for _, code in client.cuts} == {1006}
        print(f"\n{way}: {len(cut)} of {COUNT} WebSockets cut; back since then: "
              + summary([client.returns[-1] - ended for client in cut]))
        if way == "killed":
            # One in its place has never seen them.
            await asyncio.to_thread(running.start, gone)
            await everybody_is_known(running, people, REPLICAS)

    on_down = "on-marked-down shutdown-sessions" if way == "unplugged" else ""
    with site(on_down=on_down) as running:
        lose_one(running, scenario)
        running.gateways[REPLICAS[0]].process.kill()
        # So that the backends need not wait for it when they end.
        running.hosts[REPLICAS[0]].ip("link set eth0 up")
        assert all(running.gateways[name].process.poll() is None for name in REPLICAS[1:])


@pytest.mark.parametrize("way", ["SIGTERM", "bascule drain"])
def test_clients_of_a_drained_replica_are_told_and_come_back_to_their_backends(way):
    def drain(gone):
        if way == "SIGTERM":
            return running.gateways[gone].process.send_signal(signal.SIGTERM)
        with running.hosts[gone].inside():
            done = admin.command("drain", "--config", str(running.file))
            assert done.returncode == 0, done.stderr

    async def scenario(people, gone):
        cut, others = people.at(gone), people.at(*REPLICAS[1:])
        begun = people.now()
        await asyncio.to_thread(drain, gone)
        await come_back(people, cut, others)
        assert {code for client in cut for _, code in client.cuts} == {1001}
        assert await asyncio.to_thread(running.gateways.pop(gone).process.wait, 10) == 0
        print(f"\n{way}: {len(cut)} of {COUNT} WebSockets told over "
              f"{max(client.cuts[-1][0] for client in cut) - begun:.1f} s; back after their Close: "
              + summary([client.returns[-1] - client.cuts[-1][0] for client in cut]))
        await everybody_is_known(running, people, REPLICAS[1:])

    with site() as running:
        lose_one(running, scenario)
        assert all(gateway.process.poll() is None for gateway in running.gateways.values())
