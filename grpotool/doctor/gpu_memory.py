"""Memory of each GPU that this process sees, as JSON: [{"uuid", "free", "total"}, ...] in bytes.

The doctor runs it as a process of its own: CUDA, once loaded, holds memory until its process ends.
It also fails, with torch's own words, where the driver is too old for torch's CUDA.
"""
from __future__ import annotations

import json

import torch


def main() -> None:
    torch.cuda.init()
    memory = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        uuid = f"GPU-{torch.cuda.get_device_properties(number).uuid}"
        memory.append({"uuid": uuid, "free": free, "total": total})
    print(json.dumps(memory))


if __name__ == "__main__":
    main()
