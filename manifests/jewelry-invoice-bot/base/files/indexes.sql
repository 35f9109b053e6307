-- Lists of invoices are slow without these. Making one that exists is no error.
CREATE INDEX IF NOT EXISTS ix_invoices_org_created ON invoices (organization_id, created_at DESC);
CREATE INDEX IF NOT EXISTS ix_invoices_org_deleted ON invoices (organization_id, is_deleted);
