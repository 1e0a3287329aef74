"""ConvNeXt, V1 and V2, in timm's naming, so that timm's checkpoints load without renaming.

One module class serves before and after folding: what a fold moves elsewhere becomes None here (a LayerNorm without
scale and bias, a GRN without beta, a block without layer scale), and the forward pass leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecvx.spec import Activation, ArchSpec


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of an NCHW tensor, each pixel on its own."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight: nn.Parameter | None = nn.Parameter(torch.ones(channels))
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes each pixel's channel vector."""
        y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, self.eps)
        return y.permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """ConvNeXt V2's GRN: ``x * (1 + weight * N) + bias``, ``N = G / (mean_c(G) + eps)``, ``G`` the L2 norm over pixels.

    ``form == "rms"`` takes the root *mean* square instead and ``eps / sqrt(H * W)``: the same N, and nothing that
    grows with the picture (see ``edgecvx.graph.fold``). ``base`` holds what stands in place of the 1.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.form: Literal["l2", "rms"] = "l2"
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(channels))
        self.register_buffer("base", torch.ones(channels), persistent=False)
        self.base: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Scales each channel by how strongly it responds over the picture, against the other channels."""
        if self.form == "l2":
            g = x.square().sum(dim=(2, 3), keepdim=True).sqrt()
            eps = self.eps
        else:
            g = x.square().mean(dim=(2, 3), keepdim=True).sqrt()
            eps = self.eps / (x.shape[2] * x.shape[3]) ** 0.5
        n = g / (g.mean(dim=1, keepdim=True) + eps)
        factor = self.base.view(1, -1, 1, 1) + self.weight.view(1, -1, 1, 1) * n
        return x * factor if self.bias is None else torch.addcmul(self.bias.view(1, -1, 1, 1), x, factor)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution.

    PyTorch takes oneDNN for one only with several threads or sixteen pictures. References run eight in one thread, and
    take a twelfth less time with it, so it is asked for by name where nothing but the answer is wanted.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes the channels of each pixel."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32
        plain = plain and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if not plain or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, self.bias, (0, 0), (1, 1), (1, 1), 1)


class Mlp(nn.Module):
    """The block's inverted bottleneck: two 1x1 convolutions around the activation and, in V2, GRN."""

    def __init__(self, channels: int, arch: ArchSpec) -> None:
        super().__init__()
        hidden = 4 * channels
        self.act: Activation = arch.act
        self.fc1 = Pointwise(channels, hidden)
        self.grn = GlobalResponseNorm(hidden, arch.grn_eps) if arch.grn else None
        self.fc2 = Pointwise(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Expands, activates, normalizes the response, contracts."""
        x = activate(self.fc1(x), self.act)
        if self.grn is not None:
            x = self.grn(x)
        y: Tensor = self.fc2(x)
        return y


class Block(nn.Module):
    """Depthwise convolution, LayerNorm, MLP, and the residual sum."""

    def __init__(self, channels: int, kernel: int, arch: ArchSpec) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = LayerNorm2d(channels, arch.norm_eps)
        self.mlp = Mlp(channels, arch)
        self.gamma: nn.Parameter | None = None if arch.grn else nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """The residual step."""
        y: Tensor = self.mlp(self.norm(self.conv_dw(x)))
        return x + (y if self.gamma is None else y * self.gamma.view(1, -1, 1, 1))


class Stage(nn.Module):
    """A downsampling step, where there is one, and the blocks."""

    def __init__(
        self, channels_in: int, channels: int, depth: int, kernel: int, arch: ArchSpec, *, first: bool
    ) -> None:
        super().__init__()
        self.downsample: nn.Sequential | None = None
        if not first:
            self.downsample = nn.Sequential(
                LayerNorm2d(channels_in, arch.norm_eps), nn.Conv2d(channels_in, channels, 2, 2)
            )
        self.blocks = nn.Sequential(*(Block(channels, kernel, arch) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """The stage's map."""
        if self.downsample is not None:
            x = self.downsample(x)
        y: Tensor = self.blocks(x)
        return y


class Head(nn.Module):
    """Global average pooling, LayerNorm, classifier."""

    def __init__(self, channels: int, num_classes: int, eps: float) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels, eps)
        self.fc = nn.Linear(channels, num_classes) if num_classes else None

    def embed(self, x: Tensor) -> Tensor:
        """The pooled, normalized vector."""
        y: Tensor = self.norm(x.mean(dim=(2, 3), keepdim=True)).flatten(1)
        return y


class ConvNeXt(nn.Module):
    """The network of an ``ArchSpec``. ``forward`` gives logits; ``features`` the stage maps; ``embed`` the vector."""

    def __init__(self, arch: ArchSpec, num_classes: int) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = num_classes
        self.stem = _stem(arch)
        before = (arch.dims[0], *arch.dims[:-1])
        self.stages = nn.ModuleList(
            Stage(c_in, c, depth, k, arch, first=i == 0)
            for i, (c_in, c, depth, k) in enumerate(zip(before, arch.dims, arch.depths, arch.kernel_sizes, strict=True))
        )
        self.head = Head(arch.dims[-1], num_classes, arch.head_norm_eps)

    def features(self, x: Tensor) -> list[Tensor]:
        """The four stage maps, at strides 4, 8, 16 and 32."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def embed(self, x: Tensor) -> Tensor:
        """The pooled and normalized vector before the classifier."""
        return self.head.embed(self.features(x)[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        if self.head.fc is None:
            raise RuntimeError("this network has no classifier")
        y: Tensor = self.head.fc(self.embed(x))
        return y


def activate(x: Tensor, act: Activation) -> Tensor:
    """The activation an ``ArchSpec`` names."""
    if act == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh" if act == "gelu_tanh" else "none")


def _stem(arch: ArchSpec) -> nn.Sequential:
    if arch.stem_mid is None:
        return nn.Sequential(nn.Conv2d(3, arch.dims[0], 4, 4), LayerNorm2d(arch.dims[0], arch.norm_eps))
    return nn.Sequential(
        nn.Conv2d(3, arch.stem_mid, 3, 2, 1),
        nn.Conv2d(arch.stem_mid, arch.dims[0], 3, 2, 1),
        LayerNorm2d(arch.dims[0], arch.norm_eps),
    )


def initialize(model: ConvNeXt, seed: int) -> ConvNeXt:
    """Fills a network with seeded random weights at which every part of it matters.

    Not the initialization for training, where GRN and layer scale start at zero: here they, the biases and the norms
    are drawn too, because a network whose GRN does nothing would let a broken GRN pass every check.
    """
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=draw)
            if p.ndim >= 2:
                p.copy_(noise * (p[0].numel() ** -0.5))
            elif name.endswith(("grn.weight", "gamma")):
                p.copy_(0.5 * noise)
            elif name.endswith("weight"):
                p.copy_(1.0 + 0.2 * noise)
            else:
                p.copy_(0.1 * noise)
    return model.eval()


def outputs_of(model: ConvNeXt, x: Tensor, task: str) -> Sequence[Tensor]:
    """What a file of this task returns for ``x``, in the order of its outputs."""
    if task == "features":
        return model.features(x)
    return [model.embed(x) if task == "embed" else model(x)]
