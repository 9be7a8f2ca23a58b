"""python -m minidl: pages to read, the state of this machine, and kernels compiled beforehand.

    python -m minidl describe [NAME ...]   equation, code and measured cost of an op, layer,
                                           loss, optimizer, schedule or kernel; without a name: all
    python -m minidl doctor                versions, threads, cache of kernels, and what is wrong
    python -m minidl warmup [--for MODEL]  compile the kernels of common models, once: mlp, textcnn,
                                           gru, lstm, sasrec, cnn, dcgan, bpr, mf; without: all
"""

import argparse
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    page = commands.add_parser("describe", help="an op, layer, loss, optimizer or kernel")
    page.add_argument("names", nargs="*", metavar="NAME", help="such as conv2d, nn.LSTM, Adam")
    page.add_argument(
        "--seconds", type=float, default=0.2, help="to spend on each measurement; 0: none"
    )
    commands.add_parser("doctor", help="versions, threads, cache, and what is wrong")
    warm = commands.add_parser("warmup", help="compile the kernels of common models")
    warm.add_argument("--for", nargs="+", default=[], dest="models", metavar="MODEL")
    args = parser.parse_args(argv)
    if args.command == "doctor":
        from minidl.doctor import examine

        return examine()
    if args.command == "warmup":
        from minidl.warmup import MODELS, run

        return run(MODELS, args.models)
    from minidl.describe import describe, listing

    if not args.names:
        print(listing())
    for name in args.names:
        try:
            print(describe(name, args.seconds))
        except LookupError as error:
            print(error.args[0], file=sys.stderr)
            return 2
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
