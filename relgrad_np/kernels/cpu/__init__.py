"""Steps on CPU, compiled by Numba. Read `step` first: it decides; `whole_step` is one call.

A call takes K steps, one of `train_step` and many of `take_steps`, with the same bits. Each step as
data, with L layers, N samples, D dimensions and n = min(N, D); `records` names every array:

    X (N, D) --- passes.forward --->  Y_k, sigma'(Y_k), (log sigma')'(Y_k), all (N, D);  L_p, L_J1;
                                      Delta of the last layer (N, D)
    for k = L - 1, ..., 0:
        [in charts: Y_k as the chart has it; mean, variance, information and gain (D,) moved on]
        [Y_k; Delta_k] (2 N, D) --- passes.product, @ W_k --->  [A_k; Delta_k @ W_k] (2 N, D);
                                      Delta_(k-1) = (Delta_k @ W_k) * sigma' + (log sigma')' / N
                                      (for N >= D no A_k is made: the step is K_k @ W_k then)
        [in charts: Delta_k as the chart has it, times the gain]
        Y_k, Delta_k, A_k --- passes.bounded --->  K_k (n, n), u_k (N,);  a bound of |K_k|
    Is everything finite? Nothing but memory of the steps' own has changed so far.
    [many: do L_p, L_J1 and log|det W| say that the step before was bad? Then the call ends here.]
    [many: W_k, b_k --- averages.join ---> the running average, if they waited for this batch]
    for k = 0, ..., L - 1:
        Delta_k, A_k, K_k, u_k, eta_k --- update.step --->  W_k (D, D), b_k (D,) in place;
                                      log|det W_k| and its sign

`whole_step.take_steps` is all of this, compiled as one function. Two memories of Y and Delta take
turns, so that the last step can be undone; what a recipe has seen takes three, of which one is from
before the last step. `adam.take_steps` is the same for Adam: it ends where squares might overflow,
and the reference takes over. Steps of full rank are one call each. `group_adam.take_step` takes
Delta and Y alone, and some products of (D, D); the natural gradient has passes of its own, with
samples side by side, in `natural.natural_step`. Memory and records of these two are in
`group_adam_step` and `natural_step`.

With context, rows of X are (N, D + c), and b is (D, c + 1): `bias` has all that this changes, and
`natural_bias` the same where samples lie side by side. A kernel is one text for both, and compiled
for each by itself.

`elementwise` has the activations and densities, `few_samples` the products that a BLAS is slow at,
`arguments` makes what the compiled functions are called with, `compile` what Numba lacks, `cache`
what is kept from one call to the next, `stored` what is kept on disk, and `ready` compiles before a
clock starts.
"""
