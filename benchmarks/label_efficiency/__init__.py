"""The label-efficiency study: `config`, `worlds`, `cells` and `report`."""
