"""Run the sidecar against an emulated API and Secrets Manager, and rotate a key."""

import argparse
import signal
import sys

from sidecar.commands.support import port
from sidecar.errors import Exit


def configure(parser: argparse.ArgumentParser) -> None:
    """Add ports, and whether to stay."""
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
        help="end after the show: 0 when every promise was kept, else 1",
    )


def run(args: argparse.Namespace) -> Exit:
    """Play the demo until Ctrl-C, SIGTERM or, with `--once`, its end."""
    try:
        from sidecar.demo import environment, script  # noqa: PLC0415 - the demo is an extra
    except ModuleNotFoundError as missing:
        print(
            f"sidecar: {missing.name} is missing; the demo needs"
            " pip install 'flownally-sidecar[demo]'",
            file=sys.stderr,
        )
        return Exit.USAGE
    # SIGTERM as Ctrl-C: the sidecar's process must not outlive the demo. A shell that
    # starts the demo in the background of a script has it ignore SIGINT.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ports = environment.Ports(args.port, args.admin_port, args.webhook_port)
        return script.play(_say, ports, once=args.once)
    except KeyboardInterrupt:
        return Exit.OK
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)
