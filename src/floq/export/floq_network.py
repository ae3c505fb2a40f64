"""The networks of a policy that floq exported, by numpy alone: no other package is needed.

`program(network, weights)` is a function from (observations, *noise) to actions in [-1, 1]. All
arrays are float32; `network` is that of `policy.json`, `weights` the arrays by their names.
"""

import math

import numpy as np

_erf = np.frompyfunc(math.erf, 1, 1)  # numpy itself has none.


def program(network, weights):
    """Actions of (observations [batch, obs], *noise), [batch, chunk * act] in [-1, 1]."""
    policy, name = network["policy"], network["policy"]["name"]

    def flow(observations, noise):
        point, steps = noise, policy["flow_steps"]
        for step in range(steps):
            time = np.full((len(point), 1), step / steps, np.float32)
            inputs = np.concatenate([observations, point, time], axis=-1)
            point = point + mlp(policy, weights, name, inputs) * np.float32(1 / steps)
        return np.clip(point, -1, 1)

    def one_step(observations, noise):
        return np.clip(mlp(policy, weights, name, np.concatenate([observations, noise], -1)), -1, 1)

    def mean(observations):
        actions = mlp(policy, weights, name, observations)
        return np.clip(np.tanh(actions) if policy["squash"] else actions, -1, 1)

    def best(observations, noise, value_noise=None):
        batch, candidates, size = noise.shape
        states = np.repeat(observations, candidates, axis=0)
        actions = flow(states, noise.reshape(-1, size))
        starts = None if value_noise is None else np.repeat(value_noise, candidates, axis=0)
        values = critic_values(network["critic"], weights, states, actions, starts)
        chosen = values.reshape(batch, candidates).argmax(axis=1)
        return actions.reshape(noise.shape)[np.arange(batch), chosen]

    decide = {"one step": one_step, "behaviour flow": flow, "mean": mean}.get(network["kind"], best)
    shift, scale = weights.get("observations.mean", 0), weights.get("observations.deviation", 1)
    return lambda observations, *noise: decide((observations - shift) / scale, *noise)


def mlp(network, weights, name, inputs, hidden=None):
    """Dense layers; `hidden`, if given, is the first one's output before its activation."""

    def dense(layer, inputs):
        return inputs @ weights[f"{name}.{layer}.kernel"] + weights[f"{name}.{layer}.bias"]

    hidden = dense("first", inputs) if hidden is None else hidden
    hidden = block_input = activate(weights, f"{name}.norms.0", hidden)
    for index in range(1, network["layers"]):
        hidden = dense(f"layers.{index - 1}", hidden)
        hidden = activate(weights, f"{name}.norms.{index}", hidden)
        if network["block_size"] and index % network["block_size"] == 0:
            hidden = block_input = block_input + hidden
    return dense("head", hidden)


def activate(weights, norm, x):
    """GELU in its tanh form, then the layer norm if the network has any."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * (x * x * x))
    x = x * (np.float32(0.5) * (1 + np.tanh(inner)))
    if f"{norm}.scale" not in weights:
        return x
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-6))
    return centred * (weights[f"{norm}.scale"] / deviation) + weights[f"{norm}.bias"]


def critic_values(critic, weights, states, actions, noise):
    """Q(s, a) of each row: aggregated over the members, then the mean over samples."""
    pairs = np.concatenate([states, actions], axis=-1)
    kinds = {"quantile": quantile_samples, "flow": flow_samples}
    samples_of, samples = kinds.get(critic["kind"], network_samples), []
    for member in range(critic["members"]):
        own = {name[15:]: array[member] for name, array in weights.items() if name[0] == "c"}
        samples.append(samples_of(critic, own, pairs, noise))
    least, spread = critic["aggregation"] == "min", critic["pessimism"]
    values = np.min(samples, axis=0) if least else np.mean(samples, axis=0)
    return (values - np.float32(spread) * np.std(samples, axis=0)).mean(axis=-1)


def network_samples(critic, weights, pairs, noise):
    """A network's value, or the mean of the histogram whose logits its outputs are."""
    outputs = mlp(critic, {f"q.{name}": array for name, array in weights.items()}, "q", pairs)
    if critic["kind"] != "categorical":
        return outputs
    masses = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    edges = np.linspace(critic["low"], critic["high"], critic["points"]).astype(np.float32)
    return masses @ ((edges[1:] + edges[:-1]) / 2)[:, None] / masses.sum(axis=-1, keepdims=True)


def quantile_samples(critic, weights, pairs, noise):
    """The return at each level of `noise`."""
    shape = (*noise.shape, pairs.shape[-1])
    inputs = [np.broadcast_to(pairs[:, None], shape), embed_time(critic, noise)]
    return network_samples(critic, weights, np.concatenate(inputs, axis=-1), noise)[..., 0]


def flow_samples(critic, weights, pairs, noise):
    """The ends of the flow from `noise` to values (arXiv 2509.06863)."""
    kernel, split = weights["network.first.kernel"], pairs.shape[-1]
    condition = (pairs @ kernel[:split] + weights["network.first.bias"])[:, None]

    def velocity(time, value):
        inputs = [embed_value(critic, value), embed_time(critic, np.full_like(value, time))]
        hidden = condition + np.concatenate(inputs, axis=-1) @ kernel[split:]
        found = mlp(critic, weights, "network", None, hidden)[..., 0]
        return (found - value) / np.float32(1 - time) if critic["endpoint"] else found

    value, size = noise, np.float32(1 / critic["steps"])
    for step in range(critic["steps"]):
        time, half = step / critic["steps"], size / 2
        move = middle = first = velocity(time, value)
        if critic["method"] != "euler":
            move = middle = velocity(time + half, value + first * half)
        if critic["method"] == "rk4":
            again = velocity(time + half, value + middle * half)
            last = velocity(time + size, value + again * size)
            move = (first + 2 * middle + 2 * again + last) / 6
        value = value + move * size
    return value


def embed_value(critic, value):
    """Bin masses of a normal distribution around each value, or the value scaled."""
    low, high = critic["low"], critic["high"]
    if critic["value_embedding"] == "scalar":
        return np.clip((value - np.float32(low)) / np.float32(high - low), -1e3, 1001)[..., None]
    edges = np.linspace(low, high, critic["points"]).astype(np.float32)
    width = max(edges[1] - edges[0], np.spacing(np.abs(edges).max()))
    scale = np.float32(math.sqrt(2)) * np.float32(critic["sigma"]) * width
    bounded = np.clip(value, edges[0] - 2 * scale, edges[-1] + 2 * scale)[..., None]
    cumulative = np.asarray(_erf((edges - bounded) / scale), np.float32)
    total = cumulative[..., -1:] - cumulative[..., :1]
    return np.diff(cumulative, axis=-1) / np.maximum(total, np.finfo(np.float32).tiny)


def embed_time(critic, time):
    """A time, or a level, as the network reads it."""
    if critic["time_embedding"] == "identity":
        return time[..., None]
    if critic["time_embedding"] == "cosine":
        return np.cos(time)[..., None]
    turns = np.arange(1, critic["frequencies"] + 1, dtype=np.float32) * time[..., None]
    return np.cos(np.pi * turns.astype(np.float64)).astype(np.float32)
