"""Teach a small GPT to write like Newton, one character at a time."""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch

from model import GPT, Config


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, default=Path("opticks.txt"))
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    parser.add_argument("--steps", type=int, default=300, help="how many steps in all; a finished run goes on from there")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=30)
    parser.add_argument("--eval-every", type=int, default=50)
    parser.add_argument("--sample", type=int, default=200, help="characters to write at the end")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def batch(data, size, context, generator):
    starts = torch.randint(len(data) - context - 1, (size,), generator=generator)
    windows = torch.stack([data[start : start + context + 1] for start in starts.tolist()])
    return windows[:, :-1], windows[:, 1:]


@torch.no_grad()
def validation_loss(model, data, args, device):
    generator = torch.Generator().manual_seed(args.seed)
    model.eval()
    losses = []
    for _ in range(10):
        x, y = batch(data, args.batch, model.config.context, generator)
        losses.append(model(x.to(device), y.to(device))[1].item())
    model.train()
    return sum(losses) / len(losses)


def learning_rate(step, args):
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    return args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, step / args.steps))))


def save(path, model, optimizer, generator, step):
    """Whole or not at all: an interrupted run resumes from the last complete checkpoint."""
    part = path.with_suffix(".part")
    torch.save(
        {
            "config": asdict(model.config),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": generator.get_state(),
            "step": step,
        },
        part,
    )
    part.replace(path)


def main():
    args = arguments()
    args.outputs.mkdir(parents=True, exist_ok=True)
    checkpoint = args.outputs / "checkpoint.pt"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)

    text = args.text.read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    index = {character: i for i, character in enumerate(alphabet)}
    data = torch.tensor([index[character] for character in text])
    train, valid = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]

    model = GPT(Config(vocabulary=len(alphabet))).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(args.seed)
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["random"].cpu())
        first = saved["step"]
        print(f"resumed at step {first}", flush=True)
    steps = range(first, args.steps if first < args.steps else first + args.steps)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters / 1e6:.2f} M parameters, {len(train)} characters, {device}", flush=True)

    began = time.perf_counter()
    with (args.outputs / "metrics.jsonl").open("a") as metrics:
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, args)
            x, y = batch(train, args.batch, model.config.context, generator)
            _, loss = model(x.to(device), y.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

            done = step + 1
            if done % args.eval_every == 0 or done == steps.stop:
                line = {
                    "step": done,
                    "loss": round(loss.item(), 4),
                    "validation_loss": round(validation_loss(model, valid, args, device), 4),
                    "seconds": round(time.perf_counter() - began, 2),
                }
                print(json.dumps(line), file=metrics, flush=True)
                print("  ".join(f"{key} {value}" for key, value in line.items()), flush=True)
                save(checkpoint, model, optimizer, generator, done)

    model.eval()
    start = torch.tensor([[index["\n"]]], device=device)
    written = model.continue_text(start, args.sample)[0].tolist()
    print("".join(alphabet[i] for i in written).strip())


if __name__ == "__main__":
    main()
