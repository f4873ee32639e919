"""Replacing the forward of a module for a while."""

import copy
import io
import pickle
import random
import threading
from functools import partial

import pytest
import torch
from torch import nn

from mmspike.execution.replacement import find_replacement, replace


def double(module, forward, args, kwargs):
    return 2 * forward(*args, **kwargs)


def increase(module, forward, args, kwargs):
    return 1 + forward(*args, **kwargs)


def skip(module, forward, args, kwargs):
    return args[0]


class Scale:
    """One that has a state."""

    factor = 3.0

    def around(self, module, forward, args, kwargs):
        return self.factor * forward(*args, **kwargs)


class Negative(nn.Module):
    def forward(self, x, plus=0.0):
        return plus - x


X = torch.tensor([1.0, 2.0])


def test_the_last_one_is_the_outermost():
    net = Negative()
    replace(net, double)
    replace(net, increase)
    assert torch.equal(net(X), 1 + 2 * -X)
    assert torch.equal(net(X, plus=1.0), 1 + 2 * (1 - X))


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_any_order_of_restoring(order):
    net = Negative()
    replacements = [replace(net, around) for around in (double, increase, skip)]
    left = {0, 1, 2}
    for i in order:
        replacements[i].restore()
        left.discard(i)
        expected = -X
        for j in sorted(left):
            expected = (2 * expected, 1 + expected, X)[j]
        assert torch.equal(net(X), expected)
    assert 'forward' not in vars(net)


def test_restoring_twice_does_nothing():
    net = Negative()
    first = replace(net, double)
    first.restore()
    second = replace(net, double)
    first.restore()
    assert torch.equal(net(X), -2 * X)
    second.restore()
    assert torch.equal(net(X), -X)


def test_what_stood_there_before_comes_back():
    net = Negative()
    net.forward = own = lambda x: 10 * x
    replacement = replace(net, double)
    assert torch.equal(net(X), 20 * X)
    replacement.restore()
    assert vars(net)['forward'] is own


def test_what_somebody_put_on_top_stays():
    net = Negative()
    replacement = replace(net, double)
    net.forward = partial(lambda forward, x: 5 + forward(x), net.forward)
    assert torch.equal(net(X), 5 - 2 * X)
    replacement.restore()
    assert torch.equal(net(X), 5 - X)
    second = replace(net, double)
    assert torch.equal(net(X), 2 * (5 - X))
    second.restore()
    assert torch.equal(net(X), 5 - X)


def test_found_by_what_runs():
    net, scale = Negative(), Scale()
    assert find_replacement(net, double) is None
    replacement = replace(net, double)
    replace(net, scale.around)
    assert find_replacement(net, double) is replacement
    assert find_replacement(net, Scale().around) is None
    find_replacement(net, scale.around).restore()
    assert torch.equal(net(X), -2 * X)


def test_copies_and_pickles_have_their_own():
    scale, net = Scale(), Negative()
    net.add_module('part', nn.Identity())
    replacement = replace(net, scale.around)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    loaded, copied = torch.load(file, weights_only=False), copy.deepcopy(net)
    replacement.restore()
    scale.factor = 0.0
    assert torch.equal(net(X), -X)
    for twin in (loaded, copied):
        assert torch.equal(twin(X), -3 * X)
        assert twin.forward.__self__.module is twin


def test_copies_and_pickles_are_without_one_that_does_not_last():
    scale, net = Scale(), Negative()
    replace(net, double, lasting=False)
    replace(net, scale.around)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(X), -3 * X)
        find_replacement(twin, twin.forward.__self__.replacements[0]._around).restore()
        assert 'forward' not in vars(twin)
    assert torch.equal(net(X), -6 * X)


def test_a_shallow_copy_is_refused():
    """It has the attributes of the original, ``forward`` among them."""
    net = nn.Sequential(Negative())
    replacement = replace(net, double)
    twin = copy.copy(net)
    for ask in (find_replacement, replace):
        with pytest.raises(RuntimeError, match=r'this Sequential is a shallow copy .*deepcopy'):
            ask(twin, double)
    replacement.restore()
    assert torch.equal(net(X), -X)
    assert find_replacement(copy.copy(net), double) is None


def test_the_forward_of_another_module_is_no_replacement():
    net, other = Negative(), Negative()
    replace(net, double)
    other.forward = net.forward
    assert find_replacement(other, double) is None
    replacement = replace(other, increase)
    assert torch.equal(other(X), 1 - 2 * X)
    replacement.restore()
    assert torch.equal(other(X), -2 * X)


def test_an_exception_leaves_the_stack_as_it_is():
    net = Negative()
    replacement = replace(net, double)
    with pytest.raises(TypeError):
        net('nothing to subtract')
    assert torch.equal(net(X), -2 * X)
    replacement.restore()
    assert 'forward' not in vars(net)


def test_one_that_restores_itself():
    net = Negative()

    def once(module, forward, args, kwargs):
        replacement.restore()
        return skip(module, forward, args, kwargs)

    replacement = replace(net, once)
    assert torch.equal(net(X), X)
    assert torch.equal(net(X), -X)


def test_threads_replace_and_restore_at_the_same_time():
    net, wrong, begin = Negative(), [], threading.Barrier(4, timeout=60)
    own = replace(net, double)

    def work(seed):
        order = random.Random(seed)
        begin.wait()
        for _ in range(200):
            mine = [replace(net, lambda m, forward, args, kwargs: forward(*args)) for _ in 'abc']
            if not torch.equal(net(X), -2 * X):
                wrong.append(seed)
            order.shuffle(mine)
            for replacement in mine:
                replacement.restore()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    own.restore()
    assert 'forward' not in vars(net)


def test_export_sees_through():
    net = Negative()
    replace(net, double)
    exported = torch.export.export(net, (X,)).module()
    assert torch.equal(exported(X), -2 * X)
