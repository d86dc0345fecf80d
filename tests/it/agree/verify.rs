//! What is rendered for random worlds is proven, node by node; what shows a difference is one.

use palisade::diagnostic::Diagnostics;
use palisade::inventory::NodeId;
use palisade::policy::StagedPolicies;
use palisade::resolve;
use palisade::semantics::evaluate::Evaluator;
use palisade::verify::{self, VerifyDifference};

use super::random::{self, Dice};
use super::world::World;
use super::{kernels, manifests, node_names, options, read, scripts, seeds};

/// Worlds of a seed; forty of each were proven once.
const WORLDS: u64 = 12;

#[test]
fn what_is_rendered_is_proven() {
    for seed in seeds(WORLDS) {
        let world = random::world(&mut Dice(seed));
        if let Err(problem) = prove(&world) {
            assert!(
                problem.contains("palisade refuses"),
                "seed {seed}: {problem}\n{}",
                manifests::yaml(&world)
            );
        }
    }
}

fn prove(world: &World) -> Result<(), String> {
    let options = options(world);
    let input = read(manifests::yaml(world), StagedPolicies::Proposed)?;
    let resolved = resolve::selectors(
        &input.policies,
        &input.inventory,
        &mut Diagnostics::default(),
    );
    let evaluator = Evaluator::new(&resolved);
    let names = node_names(world);

    let kernels = kernels(&scripts(&resolved, &names, &options)?)?;
    for (name, kernel) in names.iter().zip(&kernels) {
        let node: NodeId = resolved
            .inventory
            .find_node(name)
            .ok_or("the node is gone")?;
        let verification = verify::of_kernel(&evaluator, node, &options, kernel);
        let shown: Vec<String> = verification.differences.iter().take(3).map(shown).collect();
        if !verification.is_proven() {
            return Err(format!(
                "node {name}: {} of {:?} differ:\n{}",
                verification.differing,
                verification.proof,
                shown.join("\n")
            ));
        }
    }

    Ok(())
}

fn shown(difference: &VerifyDifference<'_>) -> String {
    match difference {
        VerifyDifference::NotLoadable(refused) => refused.to_string(),
        VerifyDifference::Misplaced(misplaced) => format!("{misplaced:?}"),
        VerifyDifference::Packet(witness) => {
            let lines: Vec<String> = witness
                .passed
                .iter()
                .map(|rule| {
                    format!(
                        "  {} line {} {:?} {}",
                        rule.chain, rule.line, rule.target, rule.comment
                    )
                })
                .collect();
            let (owed, packet) = (&witness.owed, &witness.packet);
            format!(
                "{packet:?}\nowed {:?} by {:?}, untracked {}; gets {:?}, untracked {}\n{}",
                owed.verdict,
                owed.cause,
                owed.is_untracked,
                witness.verdict,
                witness.is_untracked,
                lines.join("\n")
            )
        }
    }
}
