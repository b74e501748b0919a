"""What the study runs. Change it here; cells that are done are not run again."""

#: Labels after which a model is fitted and judged. The first round is chosen without a
#: model: as a user would get it by rules that need none, else at random. In the paper's
#: recipes it is random, as in the paper.
ROUNDS = (50, 100, 150, 200, 300, 400, 600, 800, 1000)
#: Where recorded answers are fewer, the rounds stop at this share of them.
REPLAY_SHARE = 0.6
#: Candidates offered in a round, drawn afresh; all strategies see the same first ones.
N_CANDIDATES = 5000
SEEDS = 20

#: The prompts and models of a file are split in two by a hash of their names. Rules and
#: constants were chosen on the tuning half; the report is about the reporting half.
#: (Two, to see items on a sphere and to average priors, with tuning prompts and the
#: models of both; the latter stayed after a look at two worlds of the other half.)
HALVES = ("tuning", "reporting")
SALT = "skarm"
#: Share of the prompts (or items) that are only judged on.
TEST_SHARE = 0.3

#: name: how to make it; see `worlds.py`. `temperature` is the noise of the annotators,
#: `n_models` how many models answer, drawn afresh for each seed from those of both
#: halves: what can be saved depends on them. The prompts are those of one half.
WORLDS = {
    "hand": dict(kind="features", key="X_hand", temperature=3.0),
    "pca": dict(kind="features", key="X_pca", temperature=3.0),
    "hand T=1": dict(kind="features", key="X_hand", temperature=1.0),
    "pca T=1": dict(kind="features", key="X_pca", temperature=1.0),
    "pca across": dict(kind="features", key="X_pca", temperature=3.0, scope="across"),
    "hand mixed": dict(kind="features", key="X_hand", temperature=3.0, n_models=16),
    "pca mixed": dict(kind="features", key="X_pca", temperature=3.0, n_models=16),
    "text": dict(kind="text", temperature=3.0),
    "sentences": dict(kind="text", temperature=3.0, embedding="sentences"),
    "pca 10% flipped": dict(kind="features", key="X_pca", temperature=3.0, flip=0.10),
    "pca 25% flipped": dict(kind="features", key="X_pca", temperature=3.0, flip=0.25),
    "linear": dict(kind="synthetic", reward="linear"),
    "duplicated": dict(kind="synthetic", reward="linear", copies=4),
    "network": dict(kind="synthetic", reward="network", n_features=32),
    "heavy tails": dict(kind="synthetic", reward="saturated", n_features=32, df=3),
    "digits": dict(kind="digits"),
    "hh": dict(kind="replay", file="hh_harmless_public.jsonl.gz"),
    "pandalm": dict(kind="replay", file="pandalm_human_public.jsonl.gz"),
    "llmfao": dict(kind="replay", file="llmfao_comparisons.jsonl.gz"),
}
#: The worlds of `--quick`, and its seeds and strategies.
QUICK = dict(
    worlds=("hand", "pca", "linear", "duplicated", "digits"),
    strategies=("random", "auto", "d_optimal", "greedy_d_optimal", "entropy"),
    seeds=4,
)

#: name: how the reward model is made; see `cells.py`. Random is in every recipe, and
#: strategies None means every one that is registered.
RECIPES = {
    "skarm": dict(model="default", strategies=None),
    "skarm, alpha_scale=2": dict(
        model="default", options={"alpha_scale": 2.0}, strategies=("random", "auto")
    ),
    "skarm, alpha_scale=4": dict(
        model="default", options={"alpha_scale": 4.0}, strategies=("random", "auto")
    ),
    "length only": dict(model="length", strategies=("random",)),
    "paper": dict(
        model="paper",
        strategies=("random", "d_optimal"),
        worlds=("hand", "pca", "text"),
        rounds=(100, 200, 400, 600, 800, 1000),
    ),
}

#: The paper's protocol: so many annotations a round, so often, the first at random, of
#: pairs of 500 prompts; also judged by the best of so many responses to a prompt.
PAPER_BATCHES, PAPER_ROUNDS = (125, 250, 500, 1000), 3
RECIPES |= {
    f"paper protocol, {batch} a round": dict(
        model="paper",
        strategies=("random", "d_optimal", "past_aware_d_optimal"),
        worlds=("hand", "pca", "pca across"),
        rounds=tuple(batch * (k + 1) for k in range(PAPER_ROUNDS)),
        n_prompts_offered=500,
        n_candidates=22_500,
        best_of=10,
    )
    for batch in PAPER_BATCHES
}
