"""Modules of FrEIA, and sequences of them."""

from __future__ import annotations

from typing import Any

from .entries import Entry, net, shaken


def entries() -> list[Entry]:
    """Return the entries."""
    import FrEIA.framework as Ff
    import FrEIA.modules as Fm
    import torch

    def subnet(inputs: int, outputs: int) -> Any:
        return net(inputs, outputs)

    def conv(inputs: int, outputs: int) -> Any:
        return torch.nn.Sequential(torch.nn.Conv2d(inputs, 8, 3, padding=1), torch.nn.Tanh(),
                                   torch.nn.Conv2d(8, outputs, 1))  # fmt: skip

    def block(name: str, D: int = 4, **more: Any) -> Any:
        return lambda: getattr(Fm, name)([(D,)], **more)

    def sequence(D: int, blocks: int, **more: Any) -> Any:
        def make() -> Any:
            inn = Ff.SequenceINN(D)
            for _ in range(blocks):
                inn.append(Fm.AllInOneBlock, subnet_constructor=subnet, **more)
            return shaken(inn, 0.02)

        return make

    def graph() -> Any:
        first = Ff.InputNode(4, name="in")
        one = Ff.Node(first, Fm.GLOWCouplingBlock, {"subnet_constructor": subnet})
        two = Ff.Node(one, Fm.PermuteRandom, {"seed": 1})
        three = Ff.Node(two, Fm.RNVPCouplingBlock, {"subnet_constructor": subnet})
        return Ff.GraphINN([first, one, two, three, Ff.OutputNode(three)])

    def image() -> Any:
        inn = Ff.SequenceINN(1, 4, 4)
        inn.append(Fm.HaarDownsampling)
        inn.append(Fm.GLOWCouplingBlock, subnet_constructor=conv)
        inn.append(Fm.Flatten)
        return inn

    M = torch.tensor([[2.0, 1, 0, 0], [0, -1, 0.5, 0], [0.3, 0, 1, 0], [0, 0.2, 0, 0.7]])
    return [
        Entry("NICECouplingBlock", 4, block("NICECouplingBlock", subnet_constructor=subnet)),
        Entry("RNVPCouplingBlock", 4, block("RNVPCouplingBlock", subnet_constructor=subnet)),
        Entry("GLOWCouplingBlock", 4, block("GLOWCouplingBlock", subnet_constructor=subnet)),
        Entry("GINCouplingBlock", 4, block("GINCouplingBlock", subnet_constructor=subnet)),
        Entry("AffineCouplingOneSided", 4,
              block("AffineCouplingOneSided", subnet_constructor=subnet)),
        Entry("AllInOneBlock", 4, block("AllInOneBlock", subnet_constructor=subnet)),
        Entry("AllInOneBlock(gin_block=True)", 4,
              block("AllInOneBlock", subnet_constructor=subnet, gin_block=True)),
        Entry("AllInOneBlock(learned_householder_permutation=2)", 4,
              block("AllInOneBlock", subnet_constructor=subnet, learned_householder_permutation=2)),
        Entry("PermuteRandom", 5, block("PermuteRandom", 5, seed=3)),
        Entry("FixedLinearTransform", 4,
              block("FixedLinearTransform", M=M, b=torch.tensor([1.0, 0, 0, -1]))),
        Entry("Fixed1x1Conv", 16, lambda: Fm.Fixed1x1Conv([(4, 2, 2)], M=M),
              given={"shape": (4, 2, 2)}),
        Entry("InvertibleSigmoid", 4, block("InvertibleSigmoid")),
        Entry("ActNorm", 4, block("ActNorm")),
        Entry("IResNetLayer", 4, block("IResNetLayer"), expected="random",
              why="invertible_resnet.py: log|det| is an estimate with random vectors, right in the "
              "mean"),
        Entry("OrthogonalTransform", 4, block("OrthogonalTransform")),
        Entry("HouseholderPerm", 4, block("HouseholderPerm", n_reflections=2, fixed=True)),
        Entry("LearnedElementwiseScaling", 4, block("LearnedElementwiseScaling")),
        Entry("InvAutoAct", 4, block("InvAutoAct")),
        Entry("InvAutoActTwoSided", 4, block("InvAutoActTwoSided")),
        Entry("HaarDownsampling", 16, lambda: Fm.HaarDownsampling([(1, 4, 4)]),
              given={"shape": (1, 4, 4)}, expected="inverse changes its input in place",
              why="reshapes.py: without a permutation `x_perm = x` and then `x_perm *= "
              "self.fac_rev` write into the tensor that was passed"),
        Entry("IRevNetDownsampling", 16, lambda: Fm.IRevNetDownsampling([(1, 4, 4)]),
              given={"shape": (1, 4, 4)}),
        Entry("SequenceINN of AllInOneBlock", 6, sequence(6, 3)),
        Entry("SequenceINN, permute_soft", 6, sequence(6, 2, permute_soft=True),
              expected="part 'module_list.0 (AllInOneBlock)'",
              why="all_in_one_block.py: `torch.FloatTensor(w)` makes the rotation float32; in a "
              "float64 net it is a rotation to 3e-8, and its log|det| isn't 0"),
        Entry("GraphINN of couplings", 4, graph),
        Entry("SequenceINN of images", 16, image, given={"shape": (1, 4, 4)},
              expected="part 'module_list.0 (HaarDownsampling)': inverse changes its input",
              why="HaarDownsampling, found in the composed flow"),
    ]  # fmt: skip
