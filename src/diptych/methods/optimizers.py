"""torch's optimisers, without torch's compiler: it would be imported when they are made, which takes a second."""

import inspect

import torch
from torch.optim import Optimizer


class _WithoutCompiler(Optimizer):
    # Each is a plain method inside, in a wrapper that only a compiled program needs
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class Adam(_WithoutCompiler, torch.optim.Adam):
    """`torch.optim.Adam` (Kingma and Ba 2015)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class Adadelta(_WithoutCompiler, torch.optim.Adadelta):
    """`torch.optim.Adadelta` (Zeiler 2012)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adadelta.step))
