"""A record as a CASE/UCO graph (JSON-LD, CASE 1.5): the files, the tool, and one action for each step.

Names of nodes are UUIDs made from the record's own, so that the same record gives the same graph. The graph
is not signed: it points to what is, by hash.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from restore_manifests.errors import ManifestError
from restore_manifests.schema import Body, Manifest
from restore_manifests.signing import load_certificates
from restore_sdk.case_files import CaseFiles

__all__ = ["case_graph"]

_CONTEXT = {
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "uco-action": "https://ontology.unifiedcyberontology.org/uco/action/",
    "uco-core": "https://ontology.unifiedcyberontology.org/uco/core/",
    "uco-identity": "https://ontology.unifiedcyberontology.org/uco/identity/",
    "uco-observable": "https://ontology.unifiedcyberontology.org/uco/observable/",
    "uco-tool": "https://ontology.unifiedcyberontology.org/uco/tool/",
    "uco-types": "https://ontology.unifiedcyberontology.org/uco/types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}

Node = dict[str, Any]


def case_graph(case: CaseFiles) -> bytes:
    """The graph as the bytes of a JSON-LD file. Raises ManifestError if the record cannot be read."""
    if case.record is None:
        raise ManifestError("The manifest does not follow the schema.")
    nodes = _Graph(case.record).nodes()
    document = {"@context": _CONTEXT, "@graph": nodes}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


class _Graph:
    """The nodes of one record, each with its name."""

    def __init__(self, record: Manifest) -> None:
        self.record = record
        self.body: Body = record.body

    def nodes(self) -> list[Node]:
        body, sealed = self.body, self.record.files.result
        source, result = body.source, body.result
        files = [
            self._file("source", source.name, source.file_sha256, source.bytes, picture=source),
            self._file("result", sealed.name, sealed.sha256, sealed.bytes, picture=result),
        ]
        maps = [
            self._file(f"{kind} map", recorded.name, recorded.file_sha256, None, about=recorded.method)
            for kind, recorded in (("edit", body.maps.edit), ("confidence", body.maps.confidence))
            if recorded
        ]
        models = [
            self._file(
                f"model {model.id}", model.id, model.file_sha256, None, about="Weights of the network."
            )
            for model in body.models
        ]
        tool = {
            **self._node("tool", "uco-tool:Tool"),
            "uco-core:name": body.tool.name,
            "uco-tool:version": body.tool.version,
            "uco-tool:toolType": "image restoration",
        }
        signer = {**self._node("signer", "uco-identity:Identity"), "uco-core:name": self._signer()}
        provenance = {
            **self._node("provenance", "case-investigation:ProvenanceRecord"),
            "uco-core:description": body.label.statement,
            "uco-core:object": [_to(node) for node in (*files[1:], *maps)],
        }
        actions, between = self._actions(files, maps, models, tool, signer)
        return [*files, *maps, *models, *between, tool, signer, *actions, provenance]

    def _actions(
        self, files: list[Node], maps: list[Node], models: list[Node], tool: Node, signer: Node
    ) -> tuple[list[Node], list[Node]]:
        """One action for each step, chained by the pixels that pass from one to the next."""
        source, result = files
        actions: list[Node] = []
        between: list[Node] = []
        going_in = source
        for number, step in enumerate(self.body.plan):
            last = number == len(self.body.plan) - 1
            action = {
                **self._node(f"step {number}", "case-investigation:InvestigativeAction"),
                "uco-core:name": step.operation,
                "uco-core:description": f"Step {number + 1} of {len(self.body.plan)}: {step.operation}.",
                "uco-action:performer": _to(signer),
                "uco-action:instrument": [_to(tool), *(_to(node) for node in models if last)],
                "uco-action:object": [_to(going_in)],
            }
            facets = [
                {
                    **self._node(f"step {number} argument {name}", "uco-action:ActionArgumentFacet"),
                    "uco-action:argumentName": name,
                    "uco-action:value": value if isinstance(value, str) else json.dumps(value),
                }
                for name, value in step.parameters.items()
            ]
            if facets:
                action["uco-core:hasFacet"] = facets
            if actions:
                action["case-investigation:wasInformedBy"] = [_to(actions[-1])]
            if last:
                # the record is made after the last step, so that its time is the one known
                action["uco-action:endTime"] = {"@type": "xsd:dateTime", "@value": self.body.created}
                action["uco-action:result"] = [_to(node) for node in (result, *maps)]
            else:
                going_in = self._between(number)
                between.append(going_in)
                action["uco-action:result"] = [_to(going_in)]
            actions.append(action)
        return actions, between

    def _between(self, number: int) -> Node:
        """Pixels that went from one step to the next and were never a file."""
        name = f"pixels after step {number}"
        node = {
            **self._node(name, "uco-observable:ObservableObject"),
            "uco-core:name": f"Pixels after step {number + 1}, in memory",
            "uco-core:description": "The hash is over the samples with their size, as restore.pixels/1.",
        }
        if number < len(self.body.trace):
            digest = self._hash(name, self.body.trace[number].output_sha256)
            node["uco-core:hasFacet"] = [
                {
                    **self._node(f"{name} content", "uco-observable:ContentDataFacet"),
                    "uco-observable:hash": [digest],
                }
            ]
        return node

    def _file(
        self, role: str, name: str, digest: str, size: int | None, *, picture: Any = None, about: str = ""
    ) -> Node:
        file = {
            **self._node(f"{role} file", "uco-observable:FileFacet"),
            "uco-observable:fileName": name,
        }
        content = {
            **self._node(f"{role} content", "uco-observable:ContentDataFacet"),
            "uco-observable:hash": [self._hash(role, digest)],
        }
        if size is not None:
            file["uco-observable:sizeInBytes"] = _integer(size)
            content["uco-observable:sizeInBytes"] = _integer(size)
        facets = [file, content]
        if picture is not None:
            facets.append(
                {
                    **self._node(f"{role} picture", "uco-observable:RasterPictureFacet"),
                    "uco-observable:pictureWidth": _integer(picture.width),
                    "uco-observable:pictureHeight": _integer(picture.height),
                    "uco-observable:bitsPerPixel": _integer(picture.channels * picture.bits),
                }
            )
        described = {"uco-core:description": about} if about else {}
        return {
            **self._node(role, "uco-observable:File"),
            "uco-core:name": name,
            "uco-core:tag": role,
            **described,
            "uco-core:hasFacet": facets,
        }

    def _hash(self, role: str, digest: str) -> Node:
        return {
            **self._node(f"{role} hash", "uco-types:Hash"),
            "uco-types:hashMethod": "SHA256",
            "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": digest},
        }

    def _signer(self) -> str:
        signatures = self.record.signatures
        return load_certificates(signatures[0])[0].subject.rfc4514_string() if signatures else "nobody"

    def _node(self, role: str, kind: str) -> Node:
        return {"@id": f"urn:uuid:{uuid.uuid5(uuid.UUID(self.body.id), role)}", "@type": kind}


def _to(node: Node) -> Node:
    return {"@id": node["@id"]}


def _integer(value: int) -> Node:
    return {"@type": "xsd:integer", "@value": str(value)}
