"""What a user of labgrid does with a board, told as JSON lines; run by labgrid's Python, which is not the suite's.

``labgrid_driver.py ENV identify`` | ``update FILE`` | ``strategy STATE...`` | ``reserved COORDINATOR TAG=VALUE [FILE]``
"""

import json
import os
import sys
from typing import Any

from labgrid import Environment

from bridge.errors import BridgeError
from bridge.lab.labgrid.reservation import reserved_place


def say(what: str, **members: object) -> None:
    sys.stdout.write(json.dumps({"what": what, **members}, default=str) + "\n")
    sys.stdout.flush()


def target_of(env: str) -> Any:
    return Environment(env).get_target("main")


def update(driver: Any, file: str) -> None:
    identity = driver.update(file, on_event=lambda event: say("event", **event.to_dict()))
    say("updated", version=identity.application_version)


def work(env: str, action: str, arguments: list[str]) -> None:
    if action == "reserved":
        coordinator, tag, *files = arguments
        key, _, value = tag.partition("=")
        with reserved_place({key: value}, coordinator=coordinator, timeout_s=5) as environment:
            os.environ.update(environment)
            say("reserved", place=target_of(env).get_resource("RemotePlace").name)
            for file in files:
                update(target_of(env).get_driver("NrfBridgeDriver"), file)
        return
    target = target_of(env)
    if action == "strategy":
        strategy = target.get_driver("NrfStrategy")
        for state in arguments:
            strategy.transition(state)
            say("state", state=strategy.status.name)
        return
    driver = target.get_driver("NrfBridgeDriver")
    if action == "identify":
        identity = driver.identify()
        say("identity", url=driver.url, serial_number=driver.board.serial_number, **identity.to_dict())
    else:
        update(driver, arguments[0])


def main() -> int:
    env, action, *arguments = sys.argv[1:]
    try:
        work(env, action, arguments)
    except BridgeError as error:
        say("error", exit_code=error.exit_code, reason=error.reason, message=error.message, stage=error.stage)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
