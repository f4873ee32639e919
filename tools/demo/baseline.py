"""A classifier that is no network, for comparison."""

from mmengine.dataset import BaseDataset
from sklearn.svm import SVC


def svm_accuracy(train: BaseDataset, test: BaseDataset) -> float:
    """Top-1 in % of a support vector machine on the pixels of small grey images.

    Its kernel is scikit-learn's default, radial basis functions; C=10.

    Args:
        train: Images and labels to learn from, as ``mmspike.HandwrittenDigits`` holds them.
        test: Images and labels to be tested on.
    """

    def pixels_and_labels(dataset: BaseDataset) -> tuple[list, list]:
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        return [info['img'][..., 0].ravel() for info in infos], [i['gt_label'] for i in infos]

    machine = SVC(C=10).fit(*pixels_and_labels(train))
    return 100 * machine.score(*pixels_and_labels(test))
