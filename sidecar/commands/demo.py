"""Run the sidecar against an emulated API and Secrets Manager, and rotate a key."""

import argparse
import signal
import sys

from sidecar.commands.support import port
from sidecar.errors import Exit


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the ports and `--once`."""
    parser.add_argument(
        "--port",
        type=port,
        default=8700,
        help="port of the sidecar on 127.0.0.1 (default: 8700; 0 picks a free one)",
    )
    parser.add_argument(
        "--admin-port",
        type=port,
        default=8701,
        help="its admin port (default: 8701; 0 picks a free one)",
    )
    parser.add_argument(
        "--webhook-port",
        type=port,
        default=8702,
        help="its webhook port (default: 8702; 0 picks a free one)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end after the report: 0 when every call and delivery went as promised, else 1",
    )


def run(args: argparse.Namespace) -> Exit:
    """Run the demo until SIGINT, SIGTERM or, with `--once`, until its report."""
    try:
        from sidecar.demo import environment, script  # noqa: PLC0415 - the demo is an extra
    except ModuleNotFoundError as missing:
        print(
            f"sidecar: {missing.name} is missing; the demo needs"
            " pip install 'flownally-sidecar[demo]'",
            file=sys.stderr,
        )
        return Exit.USAGE
    # Both signals end the demo in order: the sidecar's process must not outlive it.
    # SIGINT too, because a shell script starts background jobs with SIGINT ignored.
    handlers = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        ports = environment.Ports(args.port, args.admin_port, args.webhook_port)
        return script.run_demo(_say, ports, once=args.once)
    except KeyboardInterrupt:
        return Exit.OK
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)
