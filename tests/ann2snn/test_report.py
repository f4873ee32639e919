import torch
from torch import nn

from mmspike.ann2snn import (
    conversion_report,
    convert_to_spiking,
    fold_batch_norms,
    insert_qcfs,
    simulate,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.GELU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5),
    ).eval()  # fmt: skip


def test_it_names_what_became_of_every_part():
    net = network()
    net.unused = nn.Identity()
    replaced = insert_qcfs(net, levels=8, thresholds=0.5)
    plain = convert_to_spiking(net)
    spiking = fold_batch_norms(plain)
    simulate(spiking, 4)
    x = torch.rand(2, 3, 8, 8)
    report = conversion_report(spiking, lambda model: model(x), replaced=replaced, before=plain)
    assert report.neurons == {'2': 0.5, '4': 0.5}
    assert report.replaced == {'2': 'ReLU', '4': 'GELU'}
    assert report.approximate == ['4']
    assert report.folded == ['1']
    assert report.spiking == ['3']
    assert report.analog == ['0', '8']
    assert report.functions == {'5': ['max_pool2d'], '7': ['layer_norm']}
    assert report.never_called == []
    assert report.as_dict()['folded'] == ['1']
    rows = {
        row[0] for row in zip(*(column.cells for column in report.table().columns), strict=True)
    }
    assert 'layers and products on spikes' in rows


def test_parts_that_never_ran():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.other = network(), nn.Linear(2, 2)

        def forward(self, x):
            return self.net(x)

    net = Half()
    insert_qcfs(net)
    spiking = convert_to_spiking(net)
    simulate(spiking, 2)
    report = conversion_report(spiking, lambda model: model(torch.rand(1, 3, 8, 8)))
    assert report.never_called == ['other']
    assert report.folded == []
    assert report.functions['net.1'] == ['batch_norm']
