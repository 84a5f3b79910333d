"""Why an adapter helps or harms a task: mechanisms, one module or package each."""
