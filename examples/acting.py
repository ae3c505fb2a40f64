"""Acting with a policy that was trained: the loop of a robot's program.

python examples/own_environment.py runs/reach
python examples/acting.py runs/reach
"""

import sys

from my_reach import make

import floq


def main(directory: str = "runs/reach", episodes: str = "5") -> None:
    actor = floq.load_run(directory).actor(seed=0)
    env = make()  # The environment as it is: forces in newtons.
    for episode in range(int(episodes)):
        observation, info = env.reset(seed=episode)
        actor.reset()  # A new episode: no plan of the former one is carried out.
        steps, is_over = 0, False
        while not is_over:
            action = actor.act(observation)
            observation, _, terminated, truncated, info = env.step(action)
            steps, is_over = steps + 1, terminated or truncated
        print(f"episode {episode}: {steps} steps, success {info['success']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
