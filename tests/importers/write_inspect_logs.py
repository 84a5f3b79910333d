"""Run inspect_ai on two small tasks with two models of fixed answers: python THIS FOLDER FORMAT."""

import sys

import inspect_ai
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, get_model, modelapi
from inspect_ai.scorer import includes, match
from inspect_ai.solver import generate


@modelapi(name="fixed")
class Fixed(ModelAPI):
    """The base answers "a" and 0; the tuned model is right about the sums."""

    async def generate(self, **asked):
        question = asked["input"][-1].text
        if question.startswith("sum"):
            answer = question.split()[1] if self.model_name == "tuned" else "0"
        else:
            answer = "a"
        output = ModelOutput.from_content(self.model_name, answer)
        output.usage = ModelUsage(input_tokens=3, output_tokens=1, total_tokens=4)
        return output

    # Counting otherwise downloads a tokenizer.
    async def count_tokens(self, *_, **__):
        return 3

    async def count_text_tokens(self, *_, **__):
        return 3


@task
def letters():
    rows = [Sample(input=f"letter {i}", target="ab"[i % 2], id=f"x{i}") for i in range(6)]
    return Task(dataset=rows, solver=generate(), scorer=match())


@task
def sums():
    rows = [Sample(input=f"sum {i}", target=str(i)) for i in range(4)]
    return Task(dataset=rows, solver=generate(), scorer=[includes(), match()], epochs=2)


if __name__ == "__main__":
    folder, log_format = sys.argv[1:]
    for name in ("base", "tuned"):
        model = get_model(f"fixed/{name}")
        inspect_ai.eval(
            [letters(), sums()], model=model, log_dir=folder, log_format=log_format, display="none"
        )
