"""Owned tasks, loops that survive, and stages that start and stop in order."""

import asyncio

import pytest

from pykubelet.base.tasks import Stage, Stages, TaskOwner, first_of


async def nap() -> None:
    await asyncio.sleep(1000)


async def test_closing_ends_every_task_and_lets_none_begin() -> None:
    owner = TaskOwner("x")
    task = owner.spawn("nap", nap())
    assert task.get_name() == "x/nap"
    assert owner.tasks == {task}
    await owner.close()
    await owner.close()
    assert task.cancelled()
    assert not owner.tasks
    with pytest.raises(RuntimeError, match="owner x is closed, late not started"):
        owner.spawn("late", nap())


async def test_closing_waits_for_tasks_that_tidy_up_by_starting_others() -> None:
    owner = TaskOwner("x")
    tidied = []

    async def stubborn() -> None:
        try:
            await nap()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    owner.spawn("stubborn", stubborn())
    await asyncio.sleep(0)
    await owner.close()
    assert tidied == [True]


async def test_a_task_that_dies_is_told(caplog) -> None:
    owner = TaskOwner("x")

    async def die() -> None:
        raise ValueError("ouch")

    with pytest.raises(ValueError, match="ouch"):
        await owner.spawn("die", die())
    await asyncio.sleep(0)
    assert "task x/die ended unexpectedly" in caplog.text


@pytest.mark.looptime
async def test_a_loop_survives_its_failures_with_growing_waits(caplog) -> None:
    owner, loop, lives = TaskOwner("x"), asyncio.get_running_loop(), []

    async def live() -> None:
        lives.append(loop.time())
        if len(lives) < 8:
            raise RuntimeError("again")

    began = loop.time()
    await owner.forever("live", live)
    assert [round(moment - began) for moment in lives] == [0, 1, 3, 7, 15, 31, 61, 91]
    assert caplog.text.count("x/live failed, starts again") == 7


class Log(list):
    def stage(self, name, *, fails=False, fails_to_stop=False) -> Stage:
        async def start() -> None:
            self.append(f"+{name}")
            if fails:
                raise OSError(name)

        async def stop() -> None:
            self.append(f"-{name}")
            if fails_to_stop:
                raise OSError(name)

        async def clean_up() -> None:
            self.append(f"~{name}")

        return Stage(name, start, stop, clean_up)


async def test_stages_stop_and_clean_up_in_reverse_order() -> None:
    log, told = Log(), []
    stages = Stages(on_start=lambda name, seconds: told.append(name))
    for name in "abc":
        stages.add(log.stage(name, fails_to_stop=name == "b"))
    await stages.start()
    assert stages.started == ("a", "b", "c")
    await stages.stop()
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a", "~c", "~b", "~a"]
    assert told == ["a", "b", "c"]
    assert stages.started == ()


async def test_a_failed_start_stops_what_ran_and_cleans_up_all() -> None:
    log, stages = Log(), Stages()
    for name in "abc":
        stages.add(log.stage(name, fails=name == "b"))
    with pytest.raises(OSError, match="b"):
        await stages.start()
    assert log == ["+a", "+b", "-b", "-a", "~c", "~b", "~a"]


async def test_after_a_failed_start_everything_is_started_again() -> None:
    log, stages, failing = Log(), Stages(), [True]

    async def flaky() -> None:
        if failing.pop() if failing else False:
            raise OSError("not yet")

    stages.add(log.stage("a"))
    stages.add(Stage("flaky", flaky))
    stages.add(log.stage("c"))
    with pytest.raises(OSError, match="not yet"):
        await stages.start()
    await stages.start()
    assert stages.started == ("a", "flaky", "c")
    assert log[-2:] == ["+a", "+c"]


async def test_only_what_was_added_later_is_started_by_another_start() -> None:
    log, stages = Log(), Stages()
    stages.add(log.stage("a"))
    await stages.start()
    stages.add(log.stage("b"))
    await stages.start()
    assert log == ["+a", "+b"]


@pytest.mark.looptime
async def test_the_first_of_several_ends_the_others() -> None:
    cancelled = []

    async def wait(seconds) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append(seconds)
            raise

    assert await first_of(wait(1), wait(5))
    assert cancelled == [5]
    assert not await first_of(wait(9), timeout=2)
    assert cancelled == [5, 9]
