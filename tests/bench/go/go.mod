module kubewitness.io/bench

go 1.25
