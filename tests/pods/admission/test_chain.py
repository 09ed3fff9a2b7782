from pykubelet.api.admission import Rejection
from pykubelet.base.journal import NullJournal
from pykubelet.pods.admission.chain import AdmissionChain
from pykubelet.pods.admission.failures import Insufficient
from pykubelet.pods.admission.preemption import Victims


class Book(NullJournal):
    def __init__(self):
        self.told = []

    def record(self, decision, text, *, pod=None, container="", cause="", **_):
        self.told.append((decision, pod.name, cause))


class Says:
    def __init__(self, verdict):
        self.verdict = verdict
        self.asked = 0

    def admit(self, pod, others):
        self.asked += 1
        return self.verdict


def test_first_rejection_ends_it(make_pod):
    book, killed = Book(), []
    victims = Victims((make_pod("old"),), (Insufficient("cpu", 3, 2, 4),))
    no, never = Says(Rejection("R", "m")), Says(None)
    chain = AdmissionChain([Says(None), Says(victims), no, never], book, lambda *each: killed.append(each))
    assert chain.admit(make_pod(), []) == Rejection("R", "m")
    assert never.asked == 0
    assert killed == []
    assert book.told == [("PodRejected", "web", "R")]


def test_a_rejection_by_labels_that_are_not_sure_is_not_told_as_one(make_pod):
    book = Book()
    chain = AdmissionChain([Says(Rejection("R", "m", by_labels=True))], book, lambda *each: None)
    assert chain.admit(make_pod(), [], labels_sure=False) == Rejection("R", "m")
    assert book.told == [("PodUndecided", "web", "m")]
    assert chain.admit(make_pod(), []) == Rejection("R", "m")
    assert book.told[1:] == [("PodRejected", "web", "R")]
    chain = AdmissionChain([Says(Rejection("R", "m"))], book, lambda *each: None)
    assert chain.admit(make_pod(), [], labels_sure=False) == Rejection("R", "m")
    assert book.told[2:] == [("PodRejected", "web", "R")]


def test_victims_after_all_agreed(make_pod):
    book, killed = Book(), []
    pod, old = make_pod(), make_pod("old")
    victims = Victims((old,), (Insufficient("cpu", 3, 2, 4),))
    last = Says(None)
    chain = AdmissionChain([Says(victims), last], book, lambda *each: killed.append(each))
    assert chain.admit(pod, []) is None
    assert last.asked == 1
    assert killed == [(pod, victims)]
    assert book.told == [("PodPreempted", "old", "cpu lacks 1"), ("PodAdmitted", "web", "")]
