"""The step on CPU, compiled by Numba. Read `step` first: it decides, `whole_step` is one call.

One step as data (L layers, N samples, D dimensions, n = min(N, D); `records` names every array):

    X (N, D) --- passes.forward --->  Y_k (N, D), sigma'(Y_k), (log sigma')'(Y_k);  L_p, L_J1
                                      Delta of the last layer (N, D)
      for k = L - 1, ..., 0
        [charts: Y_k in the chart; mean, variance, information (D,) are moved on; gain (D,)]
        [Y_k; Delta_k] (2 N, D) --- passes.product, @ W_k --->  [A_k; Delta_k @ W_k] (2 N, D)
                                      Delta_(k-1) = (Delta_k @ W_k) * sigma' + (log sigma')' / N
        [charts: Delta_k in the chart]
        Y_k, Delta_k, A_k --- passes.bounded --->  K_k (n, n), u_k (N,);  a bound of |K_k|
      nothing has been changed so far: is everything finite?
      for k = 0, ..., L - 1
        Delta_k, A_k, K_k, u_k, eta_k --- update.step --->  W_k (D, D), b_k (D,) in place,
                                      log|det W_k| and its sign

`whole_step.without_charts` and `in_charts` are this in one compiled call each. Adam's is in two,
`adam.passes` and `adam.update` for each layer, because the reference takes over where squares might
overflow. `elementwise` has the activations and densities, `few_samples` products that a BLAS is
slow at, `compile` what Numba lacks, `cache` what is kept from one step to the next.
"""
