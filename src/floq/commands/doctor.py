"""`floq doctor`: what is wrong with this installation, and how to mend it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Check versions, device, rendering and data folder, and say how to mend what is wrong."""

    def run(self) -> int:
        """Prints a line a finding; 1 if something fails."""
        from floq.doctor import diagnose

        findings = diagnose()
        for finding in findings:
            print(f"{finding.status:4s}  {finding.name}: {finding.message}")
            if finding.remedy:
                print(f"      {finding.remedy}")
        return 1 if any(finding.status == "fail" for finding in findings) else 0
