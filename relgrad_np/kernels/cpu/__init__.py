"""The step on CPU, compiled by Numba. Read `step` first: it decides; `whole_step` is one call.

One step as data, with L layers, N samples, D dimensions and n = min(N, D); `records` names every
array:

    X (N, D) --- passes.forward --->  Y_k, sigma'(Y_k), (log sigma')'(Y_k), all (N, D);  L_p, L_J1;
                                      Delta of the last layer (N, D)
    for k = L - 1, ..., 0:
        [in charts: Y_k as the chart has it; mean, variance, information and gain (D,) moved on]
        [Y_k; Delta_k] (2 N, D) --- passes.product, @ W_k --->  [A_k; Delta_k @ W_k] (2 N, D);
                                      Delta_(k-1) = (Delta_k @ W_k) * sigma' + (log sigma')' / N
        [in charts: Delta_k as the chart has it, times the gain]
        Y_k, Delta_k, A_k --- passes.bounded --->  K_k (n, n), u_k (N,);  a bound of |K_k|
    Is everything finite? Nothing but memory of the step's own has changed so far.
    for k = 0, ..., L - 1:
        Delta_k, A_k, K_k, u_k, eta_k --- update.step --->  W_k (D, D), b_k (D,) in place;
                                      log|det W_k| and its sign

`whole_step.take_step` is all of this, compiled as one function. `group_adam.take_step` is another,
whose step has full rank: it takes Delta and Y alone, and some products of (D, D). Adam's step takes
one call of `adam.passes`, and one of `adam.update` for each layer, because the reference takes over
where squares might overflow. The natural gradient has passes of its own, with samples side by side,
in one call of `natural.natural_step`, whose memory is in `natural_step`. `elementwise` has the
activations and densities, `few_samples` the products that a BLAS is slow at, `compile` what Numba
lacks, `cache` what is kept from one step to the next, `stored` what is kept on disk, and `ready`
compiles before a clock starts.
"""
