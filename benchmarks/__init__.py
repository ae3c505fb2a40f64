"""What floq's speed is compared with; not part of the package."""
