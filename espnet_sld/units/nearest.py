"""The nearest centroid of every frame: one product and one argmin per block.

|x − c_k|² = |x|² + 2·score_k with score_k = ½|c_k|² − x·c_k, in float32. On a CPU a score is one product
of (x, 1) and (−c_k, ½|c_k|²), block by block in the same memory; by torch on other devices ½|c_k|² is added
to the product. The product is nearly all of the time, so 2·(D + 1)·K operations a frame are the floor.

Of equal scores the lowest k wins. Two centroids whose scores differ by less than float32's rounding (about
1e-7 of |x|·|c| times √D) may change places between processors and BLAS libraries, never between runs on
one machine: blocks are counted from the first frame given.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

BLOCK = 1 << 20  # scores at once on a CPU, 4 MiB: large enough that packing the centroids does not count
DEVICE_BLOCK = 1 << 25  # on a GPU: 128 MiB


def scoring_matrix(centroids: np.ndarray) -> np.ndarray:
    """Centroids (K, D) → float32 (D + 1, K): −c_k above ½|c_k|²."""
    half_norms = 0.5 * np.square(centroids, dtype=np.float64).sum(axis=1)
    return np.concatenate([-centroids.T, half_norms[None]]).astype(np.float32)


def nearest_numpy(frames: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lowest scores float32 (T,), their clusters int64 (T,)) of frames (T, D), float16 or float32."""
    points, scores = _buffers(*matrix.shape)
    rows = len(points)
    best, ids = np.empty(len(frames), dtype=np.float32), np.empty(len(frames), dtype=np.int64)
    for start in range(0, len(frames), rows):
        chunk = frames[start : start + rows]
        used = len(chunk)
        points[:used, :-1] = chunk
        computed = max(2, used)  # one row alone would take another routine of the BLAS library
        with np.errstate(invalid="ignore", over="ignore"):  # bad values show in the result
            np.matmul(points[:computed], matrix, out=scores[:computed])
        found = scores[:used].argmin(axis=1, out=ids[start : start + used])
        best[start : start + used] = scores[np.arange(used), found]
    return best, ids


_local = threading.local()


def _buffers(width: int, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """A thread's arrays for (x, 1), float32 (rows, D + 1), and for scores, float32 (rows, K)."""
    if getattr(_local, "shape", None) != (width, clusters):
        rows = max(2, BLOCK // clusters)
        _local.points, _local.scores = (
            np.zeros((rows, size), dtype=np.float32) for size in (width, clusters)
        )
        _local.points[:, -1] = 1
        _local.shape = (width, clusters)
    return _local.points, _local.scores


def nearest_torch(frames, centroids, half_norms):
    """As `nearest_numpy`, by torch: frames (T, D), centroids (K, D), half norms (K,), float32, one device."""
    import torch

    best, ids = [frames.new_empty(0)], [torch.empty(0, dtype=torch.int64, device=frames.device)]
    with full_float32():
        for chunk in frames.split(max(1, DEVICE_BLOCK // len(centroids))):
            scores = torch.addmm(half_norms, chunk, centroids.T, alpha=-1)
            ids.append(scores.argmin(dim=1))
            best.append(scores.gather(1, ids[-1][:, None])[:, 0])
    return torch.cat(best), torch.cat(ids)


@contextmanager
def full_float32() -> Iterator[None]:
    """Products in float32 on a GPU too, whatever precision a front-end has switched on."""
    import torch

    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        setting.fp32_precision = before
