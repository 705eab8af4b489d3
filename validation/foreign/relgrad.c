// The algorithm in C, with plain loops: a complete implementation that no Python had a hand in.
//
// Reads test vectors with hexadecimal floats (cases/<id>.json), computes every array of each case
// and writes RESULTS/<id>.json for `relgrad-np check`.
//
//     cc -O2 -std=c99 -Wall -Wextra -o relgrad relgrad.c -lm
//     ./relgrad RESULTS vectors/cases/*.json
//
// Names and formulas are those of vectors/README.md. Everything is float64, samples are rows, W is
// stored by rows of outputs. With -DREAL=float the same in float32.
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef REAL
#define REAL double
#endif
typedef REAL real;

static void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("relgrad: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(2);
}

static void *room(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) fail("out of memory");
    return p;
}
static real *reals(int count) { return room((size_t)count, sizeof(real)); }

/* ---- as much JSON as the vectors need: find a key in an object, skip a value ---- */

static const char *blank(const char *s) {
    while (isspace((unsigned char)*s)) s++;
    return s;
}
static const char *skip(const char *s) {
    int depth = 0;
    s = blank(s);
    do {
        if (!*s) fail("the JSON text ends too early");
        if (*s == '"') {
            for (s++; *s && *s != '"'; s++)
                if (*s == '\\' && s[1]) s++;
            if (!*s) fail("the JSON text ends in a string");
            s++;
        } else if (*s == '{' || *s == '[') depth++, s++;
        else if (*s == '}' || *s == ']') depth--, s++;
        else if (depth) s++;
        else while (*s && !strchr(",}] \t\r\n", *s)) s++;
    } while (depth > 0);
    return s;
}
static const char *find(const char *object, const char *key) { /* NULL if it is not there */
    const char *s = blank(object);
    size_t n = strlen(key);
    if (*s != '{') fail("an object is expected where %s is looked for", key);
    for (s = blank(s + 1); *s == '"';) {
        const char *name = s + 1, *end = skip(s);
        const char *value = blank(end);
        if (*value != ':') fail("a colon is missing");
        value = blank(value + 1);
        if ((size_t)(end - 1 - name) == n && !strncmp(name, key, n)) return value;
        s = blank(skip(value));
        if (*s == ',') s = blank(s + 1);
    }
    return NULL;
}
static const char *get(const char *object, const char *key) {
    const char *value = find(object, key);
    if (!value) fail("there is no key %s", key);
    return value;
}
static double number(const char *object, const char *key) { return strtod(get(object, key), NULL); }
static double option(const char *object, const char *key) {
    const char *value = find(object, key);
    return value ? strtod(value, NULL) : 0;
}
static int is(const char *value, const char *word) {
    size_t n = strlen(word);
    return *value == '"' && !strncmp(value + 1, word, n) && value[n + 1] == '"';
}
static real *array(const char *object, const char *key, int count) {
    const char *s = blank(get(get(object, key), "data"));
    real *x = reals(count);
    if (*s++ != '[') fail("%s: data must be a list", key);
    for (int i = 0; i < count; i++) {
        char *end;
        s = blank(s);
        if (*s != '"') fail("%s has fewer than %d numbers", key, count);
        x[i] = (real)strtod(s + 1, &end); /* reads hexadecimal floats */
        s = blank(end + 1);
        if (*s == ',') s++;
    }
    return x;
}

/* ---- the model: activation and base density, stable for every y ---- */

static const char *act, *dens; /* names, as JSON strings */
static real alpha, beta, nu;

static real softplus(real y) { return (y > 0 ? y : 0) + (real)log1p(exp(-fabs(y))); }
static real logistic(real y) {
    real t = (real)exp(-fabs(y));
    return (y > 0 ? 1 : t) / (1 + t);
}
static real bump(real y) { /* 1 / cosh(y)^2 */
    real t = (real)exp(-2 * fabs(y));
    return 4 * t / ((1 + t) * (1 + t));
}
static real sigma(real y) {
    if (is(act, "smooth_leaky_relu")) return alpha * y + (1 - alpha) * softplus(y);
    if (is(act, "leaky_tanh")) return (real)tanh(alpha * y) + beta * y;
    if (is(act, "softplus")) return softplus(y);
    if (is(act, "elu")) return y > 0 ? y : alpha * (real)expm1(y);
    return y;
}
static real dsigma(real y) {
    if (is(act, "smooth_leaky_relu")) return alpha + (1 - alpha) * logistic(y);
    if (is(act, "leaky_tanh")) return alpha * bump(alpha * y) + beta;
    if (is(act, "softplus")) return logistic(y);
    if (is(act, "elu")) return y > 0 ? 1 : alpha * (real)exp(y);
    return 1;
}
static real log_dsigma(real y) {
    if (is(act, "softplus")) return -softplus(-y);
    if (is(act, "elu")) return y > 0 ? 0 : (real)log(alpha) + y;
    return (real)log(dsigma(y));
}
static real dlog_dsigma(real y) {
    if (is(act, "smooth_leaky_relu")) return (1 - alpha) * logistic(y) * logistic(-y) / dsigma(y);
    if (is(act, "leaky_tanh"))
        return -2 * alpha * alpha * (real)tanh(alpha * y) * bump(alpha * y) / dsigma(y);
    if (is(act, "softplus")) return logistic(-y);
    if (is(act, "elu")) return y > 0 ? 0 : 1;
    return 0;
}
static real inverse_sigma(real z) { /* halve the bracket until it is empty */
    real low = -1, high = 1;
    if (is(act, "identity")) return z;
    while (isfinite(low) && sigma(low) > z) low *= 2; /* elu and softplus do not reach every z */
    while (isfinite(high) && sigma(high) < z) high *= 2;
    for (int i = 0; i < 200; i++) {
        real middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        if (sigma(middle) < z) low = middle;
        else high = middle;
    }
    return low + (high - low) / 2;
}
static const double PI = 3.14159265358979323846;
static real log_density(real z) {
    real a = (real)fabs(z);
    if (is(dens, "normal")) return -z * z / 2 - (real)(log(2 * PI) / 2);
    if (is(dens, "logistic")) return -a - 2 * (real)log1p(exp(-a));
    if (is(dens, "laplace")) return -a - (real)log(2);
    if (is(dens, "sech")) return (real)log(2 / PI) - a - (real)log1p(exp(-2 * a));
    return (real)(lgamma((nu + 1) / 2) - lgamma(nu / 2) - log(nu * PI) / 2
                  - (nu + 1) / 2 * log1p(z * z / nu));
}
static real score(real z) {
    if (is(dens, "normal")) return -z;
    if (is(dens, "logistic")) return -(real)tanh(z / 2);
    if (is(dens, "laplace")) return (real)((z < 0) - (z > 0));
    if (is(dens, "sech")) return -(real)tanh(z);
    return -(nu + 1) * z / (nu + z * z);
}

/* ---- dense matrices ---- */

static real *product(const real *A, const real *B, int n, int m, int p, int transpose_A, int transpose_B) {
    real *C = reals(n * p);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < p; j++) {
            real sum = 0;
            for (int r = 0; r < m; r++)
                sum += (transpose_A ? A[r * n + i] : A[i * m + r]) * (transpose_B ? B[j * m + r] : B[r * p + j]);
            C[i * p + j] = sum;
        }
    return C;
}
/* Gauss and Jordan with row pivoting; returns log|det M|, and inv(M) in V */
static real invert(const real *M, int D, real *V) {
    real *A = reals(D * D), log_det = 0;
    memcpy(A, M, sizeof(real) * (size_t)(D * D));
    for (int i = 0; i < D * D; i++) V[i] = i / D == i % D;
    for (int j = 0; j < D; j++) {
        int best = j;
        for (int i = j; i < D; i++)
            if (fabs(A[i * D + j]) > fabs(A[best * D + j])) best = i;
        for (int c = 0; c < D; c++) {
            real t = A[j * D + c];
            A[j * D + c] = A[best * D + c], A[best * D + c] = t;
            t = V[j * D + c];
            V[j * D + c] = V[best * D + c], V[best * D + c] = t;
        }
        real pivot = A[j * D + j];
        log_det += (real)log(fabs(pivot));
        for (int c = 0; c < D; c++) A[j * D + c] /= pivot, V[j * D + c] /= pivot;
        for (int i = 0; i < D; i++) {
            real factor = A[i * D + j];
            if (i == j || factor == 0) continue;
            for (int c = 0; c < D; c++) {
                A[i * D + c] -= factor * A[j * D + c];
                V[i * D + c] -= factor * V[j * D + c];
            }
        }
    }
    free(A);
    return log_det;
}

/* ---- results ---- */

static FILE *out;
static int written;

static void put(const char *stage, int k, const real *x, int rows, int columns) {
    int count = (rows ? rows : 1) * (columns ? columns : 1);
    fprintf(out, written++ ? ",\n  \"%s" : "\n  \"%s", stage);
    if (k >= 0) fprintf(out, "_%d", k);
    fprintf(out, "\": {\"shape\": [");
    if (rows) fprintf(out, "%d", rows);
    if (columns) fprintf(out, ", %d", columns);
    fprintf(out, "], \"data\": [");
    for (int i = 0; i < count; i++) fprintf(out, "%s\"%a\"", i ? ", " : "", (double)x[i]);
    fprintf(out, "]}");
}

static void solve(const char *text) {
    int N = (int)number(text, "N"), D = (int)number(text, "D"), L = (int)number(text, "L");
    const char *in = get(text, "inputs"), *act_spec = get(text, "activation"), *dens_spec = get(text, "density");
    int hidden = is(get(text, "last_layer"), "activated") ? L : L - 1;
    real eta = (real)number(text, "eta");
    real **W = room((size_t)L, sizeof *W), **b = room((size_t)L, sizeof *b), **Y = room((size_t)L, sizeof *Y);
    real **Z = room((size_t)L + 1, sizeof *Z), **Delta = room((size_t)L, sizeof *Delta);
    real **V = room((size_t)L, sizeof *V), *L_p = reals(N), *L_J1 = reals(N), *log_prob = reals(N), L_J2 = 0;
    char key[32];

    act = get(act_spec, "name"), dens = get(dens_spec, "name");
    alpha = (real)option(act_spec, "alpha"), beta = (real)option(act_spec, "beta"), nu = (real)option(dens_spec, "nu");
    Z[0] = array(in, "X", N * D);
    for (int k = 0; k < L; k++) {
        snprintf(key, sizeof key, "W_%d", k);
        W[k] = array(in, key, D * D);
        snprintf(key, sizeof key, "b_%d", k);
        b[k] = array(in, key, D);
    }

    /* forward: Y = Z @ W' + b, Z = sigma(Y), and the terms of the log-likelihood */
    for (int k = 0; k < L; k++) {
        Y[k] = product(Z[k], W[k], N, D, D, 0, 1);
        Z[k + 1] = reals(N * D);
        real *slope = reals(N * D), *bend = reals(N * D);
        for (int i = 0; i < N * D; i++) {
            Y[k][i] += b[k][i % D];
            Z[k + 1][i] = k < hidden ? sigma(Y[k][i]) : Y[k][i];
            if (k < hidden) {
                slope[i] = log_dsigma(Y[k][i]), bend[i] = dlog_dsigma(Y[k][i]);
                L_J1[i / D] += slope[i];
            }
        }
        put("Y", k, Y[k], N, D);
        put("Z", k + 1, Z[k + 1], N, D);
        if (k < hidden) put("log_dsigma", k, slope, N, D), put("dlog_dsigma", k, bend, N, D);
        V[k] = reals(D * D);
        L_J2 += invert(W[k], D, V[k]);
        free(slope), free(bend);
    }
    for (int i = 0; i < N * D; i++) L_p[i / D] += log_density(Z[L][i]);
    for (int n = 0; n < N; n++) log_prob[n] = L_p[n] + L_J1[n] + L_J2;
    put("L_p", -1, L_p, N, 0), put("L_J1", -1, L_J1, N, 0);
    put("L_J2", -1, &L_J2, 0, 0), put("log_prob", -1, log_prob, N, 0);

    /* back: Delta = (Delta @ W) * sigma'(Y) + (log sigma')'(Y) / N */
    real *above = reals(N * D);
    for (int i = 0; i < N * D; i++) above[i] = score(Z[L][i]) / N;
    for (int k = L - 1; k >= 0; k--) {
        Delta[k] = reals(N * D);
        for (int i = 0; i < N * D; i++)
            Delta[k][i] = k < hidden ? above[i] * dsigma(Y[k][i]) + dlog_dsigma(Y[k][i]) / N : above[i];
        free(above);
        above = product(Delta[k], W[k], N, D, D, 0, 0);
        put("Delta", k, Delta[k], N, D);
    }
    free(above);

    for (int k = 0; k < L; k++) {
        real *G_W = product(Delta[k], Z[k], D, N, D, 1, 0), *G_b = reals(D);
        real *A = product(Y[k], W[k], N, D, D, 0, 0); /* Y @ W: two products, no inverse */
        real *R_W = product(Delta[k], A, D, N, D, 1, 0), *R_b = reals(D);
        real *W_plus = reals(D * D), *b_plus = reals(D), *unused = reals(D * D), logdet;
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++) G_W[i * D + j] += V[k][j * D + i];
        for (int n = 0; n < N; n++) {
            real u = 1;
            for (int j = 0; j < D; j++) u += Y[k][n * D + j] * b[k][j];
            for (int i = 0; i < D; i++) {
                G_b[i] += Delta[k][n * D + i];
                R_b[i] += Delta[k][n * D + i] * u;
            }
        }
        for (int i = 0; i < D * D; i++) R_W[i] += W[k][i], W_plus[i] = W[k][i] + eta * R_W[i];
        for (int i = 0; i < D; i++) R_b[i] += b[k][i], b_plus[i] = b[k][i] + eta * R_b[i];
        logdet = invert(W_plus, D, unused);
        put("G_W", k, G_W, D, D), put("G_b", k, G_b, D, 0);
        put("R_W", k, R_W, D, D), put("R_b", k, R_b, D, 0);
        put("W_plus", k, W_plus, D, D), put("b_plus", k, b_plus, D, 0);
        put("logdet_plus", k, &logdet, 0, 0);
        free(G_W), free(G_b), free(A), free(R_W), free(R_b), free(W_plus), free(b_plus), free(unused);
    }

    /* the inverse: Z = inv(W) (Y - b), from the last layer */
    real *z = array(in, "Z_back", N * D);
    for (int k = L - 1; k >= 0; k--) {
        for (int i = 0; i < N * D; i++) z[i] = (k < hidden ? inverse_sigma(z[i]) : z[i]) - b[k][i % D];
        real *below = product(z, V[k], N, D, D, 0, 1);
        free(z);
        z = below;
    }
    put("X_back", -1, z, N, D);
    free(z), free(L_p), free(L_J1), free(log_prob), free(Z[0]);
    for (int k = 0; k < L; k++) free(W[k]), free(b[k]), free(Y[k]), free(Z[k + 1]), free(Delta[k]), free(V[k]);
    free(W), free(b), free(Y), free(Z), free(Delta), free(V);
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    long size;
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0) {
        fail("can't read %s", path);
        return NULL;
    }
    rewind(file);
    char *text = room((size_t)size + 1, 1);
    if (fread(text, 1, (size_t)size, file) != (size_t)size) fail("can't read %s", path);
    fclose(file);
    return text;
}

int main(int count, char **paths) {
    if (count < 3) fail("usage: relgrad RESULTS vectors/cases/*.json");
    for (int i = 2; i < count; i++) {
        char *text = read_file(paths[i]), path[4096];
        if (find(text, "c")) { /* nets with context: this one has none, and is not asked for it */
            free(text);
            continue;
        }
        const char *name = strrchr(paths[i], '/');
        snprintf(path, sizeof path, "%s/%s", paths[1], name ? name + 1 : paths[i]);
        out = fopen(path, "w");
        if (!out) fail("can't write %s", path);
        written = 0;
        fprintf(out, "{\"dtype\": \"float%d\", \"arrays\": {", (int)(8 * sizeof(real)));
        solve(text);
        fprintf(out, "\n}}\n");
        if (fclose(out)) fail("can't write %s", path);
        free(text);
    }
    return 0;
}
