"""The CUDA C of the kernels, as text, so that any compiler can compile it, with or without CuPy.

Compiled with -DREAL=float or -DREAL=double. Every kernel is right for any grid and any block whose
number of threads is a power of two, up to 1024: loops stride over the grid or the block. Sums are
taken in double. The tests have the same functions in NumPy, under the same names.
"""

HEAD = """
typedef REAL real;
typedef long long integer;
#define STRIDE(i, count) \\
  for (integer i = blockIdx.x * (integer)blockDim.x + threadIdx.x; i < (count); \\
       i += (integer)gridDim.x * blockDim.x)

// Rows n of (N, D), `parts` blocks for each; i runs over a block's columns. No division by element.
#define ROWS(n, i, N, D, parts) \
  for (integer at_ = blockIdx.x; at_ < (N) * (parts); at_ += gridDim.x) \
    for (integer n = at_ / (parts), i = (at_ % (parts)) * blockDim.x + threadIdx.x; i < (D); \
         i += (parts) * blockDim.x)

__device__ int thread_of_block() { return threadIdx.y * blockDim.x + threadIdx.x; }

__device__ double block_sum(double x) {
  __shared__ double part[1024];
  int t = thread_of_block();
  part[t] = x;
  __syncthreads();
  for (int s = blockDim.x * blockDim.y / 2; s > 0; s /= 2) {
    if (t < s) part[t] += part[t + s];
    __syncthreads();
  }
  double total = part[0];
  __syncthreads();
  return total;
}

__device__ double block_max(double x) {  // of numbers >= 0; NaN is passed over
  __shared__ double part[1024];
  int t = thread_of_block();
  part[t] = x;
  __syncthreads();
  for (int s = blockDim.x * blockDim.y / 2; s > 0; s /= 2) {
    if (t < s && part[t + s] > part[t]) part[t] = part[t + s];
    __syncthreads();
  }
  double most = part[0];
  __syncthreads();
  return most;
}
"""

SWEEPS = """
// A block for each row n. Y += b; Z = sigma(Y), S = sigma'(Y), T = (log sigma')'(Y), all (N, D);
// total[n] = sum_i log sigma'(Y[n, i]). c = 1 - alpha.
extern "C" __global__ void leaky_sweep(
    real* Y, const real* b, real alpha, real c, real ratio, real log_alpha, real* Z, real* S,
    real* T, double* total, integer N, integer D) {
  for (integer n = blockIdx.x; n < N; n += gridDim.x) {
    double sum = 0;
    for (integer i = threadIdx.x; i < D; i += blockDim.x) {
      integer at = n * D + i;
      real y = Y[at] + b[i], t = exp(-fabs(y)), u = t / (1 + t);
      real slope = alpha + c * (y > 0 ? 1 / (1 + t) : u);
      Y[at] = y;
      Z[at] = c == 0 ? alpha * y : alpha * y + c * ((y > 0 ? y : y != y ? y : 0) + log1p(t));
      S[at] = slope;
      T[at] = c * u * (1 - u) / slope;
      sum += y > 0 ? log1p(-c * u) : log_alpha + log1p(ratio * u);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) total[n] = sum;
  }
}

// A block for each row n. Y += b; Delta = score(Y) share[n]; total[n] = sum_i log p(Y[n, i]).
// code: 0 normal, 1 logistic, 2 laplace, 3 sech, 4 quartic, 5 student_t;
// constants: `density_numbers`.
extern "C" __global__ void density_sweep(
    real* Y, const real* b, integer code, real c0, real c1, real c2, real c3, const real* share,
    real* Delta, double* total, integer N, integer D) {
  for (integer n = blockIdx.x; n < N; n += gridDim.x) {
    double sum = 0;
    for (integer i = threadIdx.x; i < D; i += blockDim.x) {
      integer at = n * D + i;
      real z = Y[at] + b[i], size = fabs(z), log_p, score;
      if (code == 0) {
        log_p = c0 * z * z + c1;
        score = -z;
      } else if (code == 2) {
        log_p = c1 - size;
        score = z > 0 ? -1 : z < 0 ? 1 : z;
      } else if (code == 4) {
        real inner = size < c0 ? size : c0, r = size - inner, q = inner * inner;
        real fall = q * (inner + 2 * c3 * r);
        log_p = c1 - (c2 * q * q + r * (q * inner + c3 * q * r));
        score = z > 0 ? -fall : fall;
      } else if (code == 5) {
        real r = size * c0, large = r > 1 ? r : 1, q = r < 1 ? r : 1 / large;
        log_p = c1 + c2 * (2 * log(large) + log1p(q * q)) + 0 * r;
        score = (z > 0 ? -c3 : z < 0 ? c3 : z) * q / (1 + q * q);
      } else {
        real t = exp(c0 * size);
        log_p = c1 - size + c2 * log1p(t);
        score = -tanh(code == 1 ? z / 2 : z);
      }
      Y[at] = z;
      Delta[at] = score * share[n];
      sum += log_p;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) total[n] = sum;
  }
}

// Delta = d_Z * S + T * share[n], all (N, D).
extern "C" __global__ void delta_sweep(
    const real* d_Z, const real* S, const real* T, const real* share, real* Delta, integer N,
    integer D, integer parts) {
  ROWS(n, i, N, D, parts)
    Delta[n * D + i] = d_Z[n * D + i] * S[n * D + i] + T[n * D + i] * share[n];
}
"""

FACTORS = """
// A block for each row n. u[n] = Y[n] . (b - m) + 1; mark[n] is 0, NaN if A[n] or u[n] is not
// finite.
extern "C" __global__ void dots(
    const real* Y, const real* A, const real* b, const real* m, real* u, double* mark, integer N,
    integer D) {
  for (integer n = blockIdx.x; n < N; n += gridDim.x) {
    double sum = 0, zero = 0;
    for (integer i = threadIdx.x; i < D; i += blockDim.x) {
      sum += (double)Y[n * D + i] * (double)(b[i] - m[i]);
      zero += 0 * A[n * D + i];
    }
    sum = block_sum(sum);
    zero = block_sum(zero);
    if (threadIdx.x == 0) {
      u[n] = sum + 1;
      mark[n] = zero + 0 * u[n];
    }
  }
}

// A block for each row and each column of K (n, n), 2 n in all. sums (2 n): of |K| along it; rows
// also: most (n), the largest |K|, and squares (n): sum (K / most)^2.
extern "C" __global__ void extents(
    const real* K, double* sums, double* most, double* squares, integer n) {
  for (integer j = blockIdx.x; j < 2 * n; j += gridDim.x) {
    const real* first = j < n ? K + j * n : K + (j - n);
    integer step = j < n ? 1 : n;
    double sum = 0, top = 0, square = 0;
    for (integer i = threadIdx.x; i < n; i += blockDim.x) {
      double x = fabs((double)first[i * step]);
      sum += x;
      if (x > top) top = x;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[j] = sum;
    if (j < n) {
      top = block_max(top);
      for (integer i = threadIdx.x; i < n; i += blockDim.x) {
        double x = (double)first[i] / (top > 0 ? top : 1);
        square += x * x;
      }
      square = block_sum(square);
      if (threadIdx.x == 0) {
        most[j] = top;
        squares[j] = square;
      }
    }
  }
}

// One block. out (2 + 5 L): L_p, L_J1, then L each of eta, norm, c, alpha, beta; wide: L_J2;
// finite, rejected: flags.
//   kind 0: eta = min(rate size, tau / norm), c = eta / beta, alpha = beta c, beta = 1 + eta
//   kind 1: eta alike, c = eta, alpha = beta c, beta = e^eta
//   kind 2: Adam, eta = rate size, norm = sqrt(sum of squares (L, n))
// norm: of K, min(|K|_F, sqrt(|K|_1 |K|_inf)); terms (L, N): log sigma', and log p in the last row.
// What is not finite makes every eta 0.
extern "C" __global__ void decide(
    const double* terms, const real* share, const double* logdet, const double* marks,
    const double* sums, const double* most, const double* squares, const real* size, real rate,
    real tau, real tiny, integer kind, integer L, integer N, integer n, real* out, double* wide,
    int* finite, bool* rejected) {
  double L_p = 0, L_J1 = 0, L_J2 = 0, all = 0;
  for (integer at = thread_of_block(); at < L * N; at += blockDim.x) {
    double x = terms[at] * (double)share[at % N];
    if (at / N == L - 1) L_p += x; else L_J1 += x;
    all += marks[at];
  }
  L_p = block_sum(L_p);
  L_J1 = block_sum(L_J1);
  all = block_sum(all);
  for (integer k = 0; k < L; k++) {
    double top = 0, square = 0, rows = 0, columns = 0, unit = 0;
    for (integer j = threadIdx.x; j < n && kind < 2; j += blockDim.x) {
      if (most[k * n + j] > top) top = most[k * n + j];
      if (sums[2 * k * n + j] > rows) rows = sums[2 * k * n + j];
      if (sums[(2 * k + 1) * n + j] > columns) columns = sums[(2 * k + 1) * n + j];
      unit += 0 * sums[2 * k * n + j];  // NaN stays
    }
    top = block_max(top);
    rows = block_max(rows);
    columns = block_max(columns);
    unit = block_sum(unit);
    for (integer j = threadIdx.x; j < n; j += blockDim.x) {
      double x = kind < 2 && top > 0 ? most[k * n + j] / top : 1;
      square += squares[k * n + j] * x * x;
    }
    square = block_sum(square);
    double bound = top * sqrt(square), other = sqrt(rows) * sqrt(columns);
    if (other < bound) bound = other;
    real norm = kind < 2 ? (real)(bound + unit) + tiny : (real)sqrt((real)square);
    if (threadIdx.x == 0) out[2 + L + k] = norm;
    all += norm;
    L_J2 += logdet[k];
  }
  if (threadIdx.x == 0) {
    bool fine = isfinite((real)L_p + (real)L_J1 + L_J2) && isfinite((real)all);
    out[0] = L_p;
    out[1] = L_J1;
    wide[0] = L_J2;
    finite[0] = fine;
    rejected[0] = !fine;
    for (integer k = 0; k < L; k++) {
      real norm = out[2 + L + k], eta = rate * size[k], c, beta;
      if (kind < 2 && tau / norm < eta) eta = tau / norm;
      if (!fine) eta = 0;
      beta = kind == 0 ? 1 + eta : kind == 1 ? exp(eta) : 1;
      c = kind == 0 ? eta / beta : eta;
      out[2 + k] = eta;
      out[2 + 2 * L + k] = c;
      out[2 + 3 * L + k] = beta * c;
      out[2 + 4 * L + k] = beta;
    }
  }
}

// x (count) becomes 0 unless finite: nothing times 0 must be NaN in the products that follow.
extern "C" __global__ void clear_unless(const int* finite, real* x, integer count) {
  if (finite[0]) return;
  STRIDE(at, count) x[at] = 0;
}
"""

STEP = """
// scale (D): 1 + eta gain, or e^(eta gain) for kind 1.
extern "C" __global__ void scales(
    const real* eta, const real* gain, integer kind, real* scale, integer D) {
  STRIDE(i, D) scale[i] = kind == 0 ? 1 + eta[0] * gain[i] : exp(eta[0] * gain[i]);
}

// F = Delta * scale * c, (N, D): what the product with A adds to W in rows scaled by `scale`.
extern "C" __global__ void weigh(
    const real* Delta, const real* scale, const real* c, real* F, integer N, integer D,
    integer parts) {
  ROWS(n, i, N, D, parts) F[n * D + i] = Delta[n * D + i] * (scale[i] * c[0]);
}

// W (D, D) <- scale[:, None] * W.
extern "C" __global__ void scale_rows(
    real* W, const real* scale, integer D, integer parts) {
  ROWS(i, j, D, D, parts) W[i * D + j] *= scale[i];
}

// b_1 = scale (b - m + factor Delta.T @ u) + other + m; b where not finite. A block of threads
// (columns, rows) for each few columns. scale and gain (D) or, with `each` = 0, one number.
extern "C" __global__ void move_bias(
    const int* finite, const real* Delta, const real* u, const real* b, const real* m,
    const real* scale, integer each, const real* factor, const real* other, real* b_1, integer N,
    integer D) {
  __shared__ double part[1024];
  int t = thread_of_block();
  for (integer first = blockIdx.x * (integer)blockDim.x; first < D;
       first += (integer)gridDim.x * blockDim.x) {
    integer i = first + threadIdx.x;
    double sum = 0;
    for (integer n = threadIdx.y; n < N && i < D; n += blockDim.y)
      sum += (double)Delta[n * D + i] * (double)u[n];
    part[t] = sum;
    __syncthreads();
    for (int s = blockDim.y / 2; s > 0; s /= 2) {
      if (threadIdx.y < s) part[t] += part[t + s * blockDim.x];
      __syncthreads();
    }
    if (threadIdx.y == 0 && i < D) {
      real moved = scale[each ? i : 0] * (b[i] - m[i] + factor[0] * (real)part[t]);
      b_1[i] = finite[0] ? moved + other[i] + m[i] : b[i];
    }
    __syncthreads();
  }
}

// A block for each layer. logdet_1 = logdet + sum_i log scale + log|det(I + c K)| (kind 0) or
// eta trace(K) (kind 1); sign_1 alike. By elimination without exchanges: |c K| <= tau < 1, so that
// the symmetric part of what is left stays positive definite. M (L, n, n): scratch. kind 2: only
// the scale, the rest is added elsewhere.
extern "C" __global__ void track(
    const real* K, const real* c, const real* scale, integer each, const double* logdet,
    const double* sign, integer kind, double* M, double* logdet_1, double* sign_1, integer L,
    integer n, integer D) {
  for (integer k = blockIdx.x; k < L; k += gridDim.x) {
    double total = 0, way = 1;
    for (integer i = threadIdx.x; i < D && each; i += blockDim.x)
      total += log((double)scale[k * D + i]);
    if (!each && threadIdx.x == 0) total = D * log((double)scale[k]);
    if (kind == 1)
      for (integer i = threadIdx.x; i < n; i += blockDim.x)
        total += (double)c[k] * (double)K[(k * n + i) * n + i];
    total = block_sum(total);
    if (kind == 0) {
      double* rows = M + k * n * n;
      int size = n, lanes = blockDim.x < 32 ? blockDim.x : 32;
      int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = blockDim.x / lanes;
      for (int i = group; i < size; i += groups)
        for (int j = lane; j < size; j += lanes)
          rows[i * size + j] =
              (double)c[k] * (double)K[k * n * n + i * size + j] + (i == j ? 1.0 : 0.0);
      for (int j = 0; j < size; j++) {
        __syncthreads();
        double pivot = rows[j * size + j];
        if (pivot < 0) way = -way;
        total += log(fabs(pivot));
        for (int i = j + 1 + (int)threadIdx.x; i < size; i += blockDim.x)
          rows[i * size + j] /= pivot;
        __syncthreads();
        for (int i = j + 1 + group; i < size; i += groups)
          for (int column = j + 1 + lane; column < size; column += lanes)
            rows[i * size + column] -= rows[i * size + j] * rows[j * size + column];
      }
    }
    if (threadIdx.x == 0) {
      logdet_1[k] = logdet[k] + total;
      sign_1[k] = sign[k] * way;
    }
    __syncthreads();
  }
}
"""

ADAM = """
// A block for each row i of R = Delta.T @ A (D, D); squares[i] = sum_j (R + W)^2.
extern "C" __global__ void square_rows(const real* R, const real* W, double* squares, integer D) {
  for (integer i = blockIdx.x; i < D; i += gridDim.x) {
    double sum = 0;
    for (integer j = threadIdx.x; j < D; j += blockDim.x) {
      real g = R[i * D + j] + W[i * D + j];
      sum += (double)g * (double)g;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) squares[i] = sum;
  }
}

// Adam in place on p, m, v (count), gradient R + own p; nothing unless finite.
extern "C" __global__ void adam(
    const int* finite, const real* R, real own, real* p, real* m, real* v, real beta1, real rest1,
    real beta2, real rest2, real rate, real correction, real epsilon, integer count) {
  if (!finite[0]) return;
  STRIDE(at, count) {
    real g = R[at] + own * p[at];
    real m_1 = beta1 * m[at] + rest1 * g, v_1 = beta2 * v[at] + rest2 * g * g;
    m[at] = m_1;
    v[at] = v_1;
    p[at] += rate * m_1 / (sqrt(v_1 * correction) + epsilon);
  }
}
"""

CODE = HEAD + SWEEPS + FACTORS + STEP + ADAM
NAMES = (
    "leaky_sweep", "density_sweep", "delta_sweep", "dots", "extents", "decide",
    "clear_unless", "scales", "weigh", "scale_rows", "move_bias", "track", "square_rows", "adam",
)  # fmt: skip
REALS = {"float32": "float", "float64": "double"}


def options(dtype: str) -> tuple[str, ...]:
    """Return what the compiler is told: the type, and no shortcuts in arithmetic.

    >>> options("float32")
    ('-DREAL=float', '--std=c++17')
    """
    return (f"-DREAL={REALS[dtype]}", "--std=c++17")
